"""When a job saves its state, and how the state leaves the hot path. Knows no Ray and nothing of searches.

Why here: every rank must come to the same answer at the same step, also where a clock decides.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from supernet.sync import Sync

AGREE_EVERY = 10
"""Most steps between two agreements about the clock; each is one broadcast of two bytes."""


class Due:
    """Says after which steps to save: every so many, and once a time has passed since the last.

    Clocks of machines differ, so rank 0's decides. With its answer it says after how many steps to ask again: as many
    as the time that is left takes, by how long the last ones took, and at most `AGREE_EVERY`.

    Args:
        every_steps: Steps between two saves.
        every_seconds: Time after which to save anyway.
        sync: The ranks that must agree.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, every_steps: int, every_seconds: float, sync: Sync, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.every_steps, self.every_seconds, self.sync, self.clock = every_steps, every_seconds, sync, clock
        self.saved_at = self.asked_at = clock()
        self.steps_since, self.ask_after = 0, 1

    def __call__(self, step: int) -> bool:
        """Whether to save after `step` steps; called by every rank after every step."""
        due = step % self.every_steps == 0
        self.steps_since += 1
        if not due and self.steps_since >= self.ask_after:
            due = self._late()
        if due:
            self.saved_at = self.clock()
        return due

    def _late(self) -> bool:
        """Ask rank 0 whether it is time to save, and note when to ask again."""
        now = self.clock()
        left = self.every_seconds - (now - self.saved_at)
        step_seconds = max((now - self.asked_at) / self.steps_since, 1e-9)
        num_steps = math.ceil(min(AGREE_EVERY, (left if left > 0 else self.every_seconds) / step_seconds))
        answer = torch.tensor([left <= 0, num_steps], dtype=torch.uint8)
        self.sync.broadcast([answer])
        self.asked_at, self.steps_since, self.ask_after = now, 0, int(answer[1])
        return bool(answer[0])


def snapshot(state: Any) -> Any:
    """Return a copy of a state that later steps do not change: tensors are copied to the processor's memory."""
    return tree_map_only(Tensor, lambda tensor: tensor.detach().to("cpu", copy=True), state)
