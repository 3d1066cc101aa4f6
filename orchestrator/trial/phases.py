"""The phases of a training job that a checkpoint may find it in, as types; to plain data and back.

Why here: what a restart finds says by its type what is left to do. It must not know where checkpoints are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supernet.errors import RunError
from supernet.space import Path


@dataclass(frozen=True)
class Searching:
    """The supernet or alpha is being trained; what `Search.state_dict` returned."""

    search: dict[str, Any]


@dataclass(frozen=True)
class Finishing:
    """A path was picked and its network is being trained.

    Attributes:
        path: The path.
        training: What `Training.state_dict` returned.
    """

    path: Path
    training: dict[str, Any]


State = Searching | Finishing


def to_state(state: State) -> dict[str, Any]:
    """Return tensors and plain data, named by their phase, as they are saved."""
    if isinstance(state, Searching):
        return {"phase": "search", "search": state.search}
    return {"phase": "finish", "path": list(state.path), "training": state.training}


def read_state(stored: Mapping[str, Any] | None, key: str) -> State | None:
    """Return the phase that a checkpoint found a job in; None at its first start.

    Args:
        stored: What `to_state` returned.
        key: Of the job, for messages.

    Raises:
        RunError: If this is no state of such a job.
    """
    match stored:
        case None:
            return None
        case {"phase": "search", "search": search} if len(stored) == 2:
            return Searching(search)
        case {"phase": "finish", "path": path, "training": training} if len(stored) == 3:
            return Finishing(tuple(path), training)
    raise RunError(
        f"{key}: its checkpoint is of another version of onepath; remove the folder train/{key} of the sweep to begin "
        f"this part anew, or finish the sweep with the version that began it"
    )
