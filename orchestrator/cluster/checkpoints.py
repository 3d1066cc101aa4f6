"""When a job saves its state, and how the state leaves the hot path. Knows no Ray and nothing of searches.

Why here: every rank must come to the same answer at the same step, also where a clock decides.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from supernet.sync import Sync

AGREE_EVERY = 10
"""Steps between two agreements about the clock; each is one broadcast of a byte."""


class Due:
    """Says after which steps to save: every so many, and once a time has passed since the last.

    Clocks of machines differ, so rank 0's decides, and the others are told every `AGREE_EVERY` steps.

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
        self.saved_at = clock()

    def __call__(self, step: int) -> bool:
        """Whether to save after `step` steps; called by every rank after every step."""
        due = step % self.every_steps == 0
        if not due and step % AGREE_EVERY == 0:
            late = torch.tensor([self.clock() - self.saved_at >= self.every_seconds], dtype=torch.uint8)
            self.sync.broadcast([late])
            due = bool(late)
        if due:
            self.saved_at = self.clock()
        return due


def snapshot(state: Any) -> Any:
    """Return a copy of a state that later steps do not change: tensors are copied to the processor's memory."""
    return tree_map_only(Tensor, lambda tensor: tensor.detach().to("cpu", copy=True), state)


class OneAtATime:
    """Lets one copy of a state wait for slow storage, so that copies do not pile up in memory."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(1)

    def begin(self) -> None:
        """Wait until the copy before is written."""
        self._free.acquire()

    def wrap(self, write: Callable[[], Any]) -> Callable[[], Any]:
        """Return `write`, which then lets the next copy be made, also where it fails."""

        def run() -> Any:
            try:
                return write()
            finally:
                self._free.release()

        return run
