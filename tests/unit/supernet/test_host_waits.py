"""A step makes the host wait for no tensor of the device: counted on a CPU as values that are read out of tensors.

`benchmarks.gpu` asks the same of a real GPU. Alpha lives on the host, so reading it waits for nothing.
"""

import pytest
import torch
from supernet_tiny import TinyData, tiny_costs, tiny_space, tiny_supernet
from torch.utils._python_dispatch import TorchDispatchMode

from supernet.loop import Search
from supernet.network import Supernet, build_network
from supernet.objective import ObjectiveSettings
from supernet.search_settings import SearchSettings
from supernet.sharing import SharingSettings
from supernet.specialise import Training, TrainSettings
from supernet.training import evaluate

READS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal"}
"""Operations whose result, or its shape, the host must know: `.item()`, `float()`, `if tensor`, places."""


class Waits(TorchDispatchMode):
    """Counts what would make the host wait; given `dtypes`, for tensors of these alone."""

    def __init__(self, *dtypes):
        super().__init__()
        self.dtypes, self.count = dtypes, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func._schema.name in READS and (not self.dtypes or args[0].dtype in self.dtypes)
        return func(*args, **(kwargs or {}))


def test_reading_a_value_is_seen():
    with Waits() as waits:
        assert float(torch.ones(())) == 1
        assert len(torch.tensor([True, False]).nonzero()) == 1
        assert torch.ones(2).all()
    assert waits.count == 3


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.2, "cutmix": 1.0, "average": 0.9}])
def test_a_step_of_final_training_reads_nothing_before_the_last(mixing):
    space = tiny_space()
    network = build_network(space, space.architecture((1, 0))).double()
    training = Training(network, TrainSettings(num_steps=4, batch_size=8, **mixing), TinyData(), seed=0)
    training.step()
    with Waits() as waits:
        training.step()
        training.step()
    assert waits.count == 0
    with Waits() as waits:
        training.step()
    assert waits.count == 1, "whether the loss is finite"


@pytest.mark.parametrize("sharing", [SharingSettings(), SharingSettings(sandwich=True, distillation=0.5, average=0.9)])
def test_a_weight_step_of_a_search_reads_nothing(sharing):
    space = tiny_space()
    settings = SearchSettings(num_steps=9, batch_size=8, arch_every=0, sharing=sharing)
    search = Search(tiny_supernet(space), tiny_costs(space), settings, TinyData(), seed=0)
    search.step()
    probs, batch = search._path_probs(), search._next("train", 8)
    with Waits() as waits:
        search.weights.step(1, probs, batch)
    assert waits.count == 0


def test_the_steps_of_a_search_read_nothing_of_the_network_between_two_checks():
    space = tiny_space(blocks=2)
    costs = tiny_costs(space)
    budget = ObjectiveSettings(kind="budget", reference=0.6 * costs.maximum)
    settings = SearchSettings(num_steps=100, batch_size=8, arch_every=100, check_every=20, objective=budget)
    search = Search(Supernet(space), costs, settings, TinyData(space, torch.float32), seed=0)
    reads = []
    for _ in range(20):
        with Waits(torch.float32, torch.bool) as waits:  # alpha and costs are float64
            search.step()
        reads.append(waits.count)
    assert reads == [0] * 19 + [1]


def test_an_evaluation_reads_nothing_but_its_sums():
    network = build_network(tiny_space(), tiny_space().architecture((1, 0))).double().eval()
    with Waits() as waits:
        evaluate(network, TinyData().once("test", 8), torch.device("cpu"))
    assert waits.count == 0, "`tolist` at the end is no operation"
