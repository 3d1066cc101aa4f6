"""Memory of steps, counted without making any: the same as of real tensors, and nothing is left behind."""

import pytest
import torch
from torch.nn import functional as F

from orchestrator.plan.activations import PeakBytes, arch_step_bytes, weight_step_bytes
from supernet.cost import macs_table
from supernet.estimators import make_estimator
from supernet.gates import ArchitectureParameters
from supernet.network import Supernet
from supernet.objective import ObjectiveSettings, make_objective
from supernet.presets import load_space
from supernet.rng import generator
from supernet.training import precision_context

IMAGES = 16


@pytest.fixture(scope="module")
def supernet():
    return Supernet(load_space("digits")).train()


@pytest.fixture
def batch(supernet):
    images = torch.zeros(IMAGES, *supernet.space.input_size).to(memory_format=torch.channels_last)
    return images, torch.zeros(IMAGES, dtype=torch.int64)


@pytest.fixture
def path(supernet):
    return tuple(max(range(len(row)), key=row.__getitem__) for row in macs_table(supernet.space).candidates)


def test_tensors_are_counted_while_they_live():
    with PeakBytes() as counted:
        first = torch.zeros(1000)
        view, second = first[10:], torch.zeros(500)
        assert counted.now == 6000
        del first
        assert counted.now == 6000, "the view holds it"
        del view, second
        torch.zeros(100)
    assert (counted.now, counted.peak) == (0, 6000)


@pytest.mark.parametrize(("recompute", "precision"), [(False, "fp32"), (True, "fp32"), (False, "bf16")])
def test_a_weight_step_takes_what_real_tensors_take(supernet, path, batch, recompute, precision):
    supernet.recompute = recompute
    with PeakBytes() as real:
        with precision_context(precision, torch.device("cpu")):
            loss = F.cross_entropy(supernet(batch[0], path), batch[1])
        loss.backward()
    supernet.recompute = False
    supernet.zero_grad()
    counted = weight_step_bytes(supernet, path, IMAGES, precision, recompute=recompute)
    # Real convolutions may take a workspace; recomputing, what is held meanwhile is small beside it.
    assert counted == pytest.approx(real.peak, rel=0.15 if recompute else 0.01)


def test_activations_in_bf16_take_half(supernet, path):
    full, half = (weight_step_bytes(supernet, path, 512, precision) for precision in ("fp32", "bf16"))
    assert 0.45 < half / full < 0.65


@pytest.mark.parametrize(
    ("estimator", "recompute"),
    [("one-path", False), ("two-path", False), ("reinforce", False), ("one-path", True), ("reinforce", True)],
)
def test_an_architecture_step_takes_what_real_tensors_take(supernet, path, batch, estimator, recompute):
    alpha = ArchitectureParameters(supernet.space, generator(0, "alpha"))
    with torch.no_grad():  # draws the path for certain
        for row, index in zip(alpha.logits, path, strict=True):
            row[index] += 50.0
    draws, costs = generator(0, "draws"), macs_table(supernet.space)
    objective = make_objective(ObjectiveSettings("add_linear", reference=costs.maximum), costs)
    supernet.recompute = recompute
    with PeakBytes() as real:
        make_estimator(estimator, 2).gradient(supernet, alpha, *batch, costs, objective, draws)
    supernet.recompute = False
    counted = arch_step_bytes(supernet, path, IMAGES, graph=estimator != "reinforce", recompute=recompute)
    # As above: what real convolutions take beside is more of the little that is held where blocks are recomputed.
    assert counted == pytest.approx(real.peak, rel=0.15 if recompute else 0.03)


def test_memory_grows_with_images_and_shrinks_where_blocks_are_recomputed(supernet, path):
    one, two, three = (weight_step_bytes(supernet, path, count) for count in (8, 16, 24))
    assert three - two == two - one > 0
    assert weight_step_bytes(supernet, path, 16, recompute=True) < 0.6 * two
    assert arch_step_bytes(supernet, path, 16, graph=False) < 0.5 * two


def test_counting_leaves_the_supernet_as_it_was(supernet, path):
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    weight_step_bytes(supernet, path, 4, recompute=True)
    arch_step_bytes(supernet, path, 4, recompute=True)
    after = supernet.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(type(parameter.data) is torch.Tensor and parameter.grad is None for parameter in supernet.parameters())
    assert not supernet.recompute
