"""When to save: the same answer on every rank, also where clocks differ; and copies that later steps leave alone."""

import itertools
from collections.abc import Sequence

import pytest
import torch

from orchestrator.cluster.checkpoints import AGREE_EVERY, Due, snapshot
from supernet.sync import Alone, Sync


class Clock:
    """Time that passes by `seconds` at each look."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


class Rank:
    """One of two ranks in one process: rank 0 leaves what it broadcasts, the other takes it."""

    def __init__(self, rank: int, sent: list[torch.Tensor]) -> None:
        self.rank, self.num_ranks, self.sent = rank, 2, sent

    def broadcast(self, tensors: list[torch.Tensor]) -> None:
        for tensor in tensors:
            if self.rank == 0:
                self.sent.append(tensor.clone())
            else:
                tensor.copy_(self.sent.pop(0))


def saved_steps(due: Due, num_steps: int) -> list[int]:
    return [step for step in range(1, num_steps + 1) if due(step)]


def test_steps_decide_where_time_does_not():
    assert saved_steps(Due(7, 1e9, Alone(), Clock(1.0)), 30) == [7, 14, 21, 28]


class Telling(Alone):
    """One rank that counts its agreements."""

    def __init__(self) -> None:
        self.num_agreements = 0

    def broadcast(self, tensors: Sequence[torch.Tensor]) -> None:
        self.num_agreements += 1


def saved_seconds(every_seconds: float, step_seconds: Sequence[float], sync: Sync) -> list[float]:
    """Return when a job saves whose steps take so long."""
    now = 0.0
    due, found = Due(10**9, every_seconds, sync, lambda: now), []
    for step, seconds in enumerate(step_seconds, 1):
        now += seconds
        if due(step):
            found.append(now)
    return found


@pytest.mark.parametrize(("every_seconds", "first"), [(60.0, 60.0), (90.0, 120.0), (150.0, 180.0), (300.0, 300.0)])
def test_long_steps_are_saved_after_the_first_that_ends_past_the_time(every_seconds, first):
    """Before: only every tenth, after ten minutes where one was asked for."""
    assert saved_seconds(every_seconds, [60.0] * 20, Alone()) == [first * i for i in range(1, 21) if first * i <= 1200]


def test_short_steps_agree_seldom_and_save_a_few_steps_late_at_most():
    sync = Telling()
    times = saved_seconds(100.0, [0.125] * 8000, sync)
    assert len(times) == 10
    assert all(100 <= b - a < 100 + 0.125 * AGREE_EVERY for a, b in itertools.pairwise([0.0, *times]))
    assert sync.num_agreements < 8000 / AGREE_EVERY + 3 * len(times) + 3
    assert saved_seconds(1e7, [1.0] * 100, Alone()) == []


def test_steps_that_become_long_are_saved_in_time_once_that_is_seen():
    times = saved_seconds(60.0, [0.125] * 100 + [60.0] * 40, Alone())
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps[0] <= 60.0 * AGREE_EVERY
    assert gaps[1:] == [60.0] * (len(gaps) - 1)
    assert len(gaps) > 20


def test_a_clock_that_stands_still_never_saves():
    assert saved_seconds(1.0, [0.0] * 100, Alone()) == []


def test_ranks_with_different_clocks_save_at_the_same_steps():
    sent: list[torch.Tensor] = []
    first = Due(25, 3.0, Rank(0, sent), Clock(2.0))
    other = Due(25, 3.0, Rank(1, sent), Clock(0.001))
    both = [(step, first(step), other(step)) for step in range(1, 300)]
    assert all(a == b for _, a, b in both)
    assert sum(a for _, a, _ in both) > 300 // 25, "the clock never decided"
    assert not sent


def test_a_snapshot_does_not_change_with_the_state():
    weight = torch.nn.Parameter(torch.ones(3))
    state = {"a": {"weight": weight, "steps": [torch.zeros(2), 5]}, "none": None}
    copy = snapshot(state)
    with torch.no_grad():
        weight += 1
        state["a"]["steps"][0] += 1
    assert torch.equal(copy["a"]["weight"], torch.ones(3))
    assert not copy["a"]["weight"].requires_grad
    assert torch.equal(copy["a"]["steps"][0], torch.zeros(2))
    assert copy["a"]["steps"][1] == 5
    assert copy["none"] is None
