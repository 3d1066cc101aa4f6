"""When to save: the same answer on every rank, also where clocks differ; and copies that later steps leave alone."""

import contextlib
import threading

import torch

from orchestrator.cluster.checkpoints import AGREE_EVERY, Due, OneAtATime, snapshot
from supernet.sync import Alone


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


def test_time_saves_between_the_steps_and_only_at_agreements():
    found = saved_steps(Due(1000, 2.5, Alone(), Clock(1.0)), 100)
    assert found
    assert all(step % AGREE_EVERY == 0 for step in found)
    assert saved_steps(Due(1000, 1e9, Alone(), Clock(1.0)), 100) == []


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


def test_copies_wait_for_each_other_also_after_a_failure():
    one = OneAtATime()
    one.begin()

    def fail() -> None:
        raise OSError("disk full")

    writing = threading.Thread(target=one.begin)
    writing.start()
    writing.join(timeout=0.2)
    assert writing.is_alive(), "the second copy did not wait"
    with contextlib.suppress(OSError):
        one.wrap(fail)()
    writing.join(timeout=5)
    assert not writing.is_alive()
