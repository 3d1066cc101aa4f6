"""Judging paths after a little training of their own: as by hand, and nothing of the supernet changes."""

import copy

import pytest
import torch
from supernet_tiny import TinyData, all_paths_of, tiny_space, tiny_supernet
from torch.nn import functional as F

from supernet.finetune import FinetunedJudge, FinetuneSettings
from supernet.judging import PathJudge
from supernet.specialise import specialise
from supernet.training import evaluate, recalibrate

SPACE = tiny_space(blocks=2)
CPU = torch.device("cpu")
PATH = (0, 1, 2)


def judge_of(supernet, num_steps, tell=lambda done, total: None):
    judge = PathJudge(supernet, TinyData(), batch_size=8, recalibration_batches=3, limit=32)
    settings = FinetuneSettings(num_steps=num_steps, batch_size=4, learning_rate=0.1)
    return FinetunedJudge(judge, TinyData(), settings, tell=tell)


def test_a_path_is_judged_as_its_network_after_the_same_steps():
    supernet = tiny_supernet(SPACE, seed=7)
    network = specialise(supernet, SPACE.architecture(PATH), inherit=True, seed=0)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for step, (images, labels) in zip(range(5), TinyData().batches("train", 4), strict=False):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 5)
        optimiser.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimiser.step()
    recalibrate(network, TinyData().once("train", 8, limit=24), CPU)
    alone = evaluate(network, TinyData().once("validation", 8, limit=32), CPU)
    (found,) = judge_of(supernet, 5)([PATH])
    assert (found.path, found.top1, found.loss) == (PATH, alone.top1, pytest.approx(alone.loss, rel=1e-5))
    assert found.loss != pytest.approx(judge_of(supernet, 1)([PATH])[0].loss, rel=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_the_supernet_is_left_alone_and_no_path_sees_anothers_training(training):
    supernet = tiny_supernet(SPACE, seed=7).train(training)
    before = copy.deepcopy(supernet.state_dict())
    modes = [module.training for module in supernet.modules()]
    told = []
    judge = judge_of(supernet, 3, lambda done, total: told.append((done, total)))
    paths = all_paths_of(SPACE)[::4]
    together = judge([*paths, paths[0]])
    assert together == [judge([path])[0] for path in [*paths, paths[0]]]
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    assert [module.training for module in supernet.modules()] == modes
    assert all(parameter.grad is None for parameter in supernet.parameters())
    assert told[: len(paths) + 1] == [(done, len(paths) + 1) for done in range(1, len(paths) + 2)]
