"""Where a job runs, as its stages see it: ranks, device, checkpoints and audience.

Why here: the stages are the same on one process, under torchrun and on a cluster. It must not know what is computed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from orchestrator.plan.news import News
from supernet.sync import Sync

Post = Callable[[News], None]


class Saver(Protocol):
    """Where a job's state goes and comes from."""

    def load(self) -> dict[str, Any] | None:
        """Return the last saved state, or None at the first start."""
        ...

    def due(self, step: int) -> bool:
        """Whether to save after so many steps; the same answer on every rank."""
        ...

    def save(self, state: Callable[[], dict[str, Any]], name: str) -> None:
        """Save a state under a name; called by every rank, written by one, beside the next steps."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a job runs: its ranks, device, checkpoints and audience."""

    sync: Sync
    device: torch.device
    saver: Saver
    post: Post
