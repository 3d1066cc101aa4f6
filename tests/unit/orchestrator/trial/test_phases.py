"""Phases of a job: there and back through what torch saves; what is no phase is refused with one sentence."""

import io

import pytest
import torch

from orchestrator.trial.phases import Finishing, Searching, read_state, to_state
from supernet.errors import RunError


def saved(state):
    """Return a state as a checkpoint gives it back."""
    buffer = io.BytesIO()
    torch.save(to_state(state), buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


@pytest.mark.parametrize("state", [Searching({"step_index": 3}), Finishing((0, 2, 1), {"step_index": 0})])
def test_there_and_back(state):
    assert read_state(saved(state), "a") == state


def test_a_first_start_has_no_state():
    assert read_state(None, "a") is None


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"search": {}},
        {"path": [1, 2], "training": {}},
        {"phase": "search"},
        {"phase": "search", "search": {}, "training": {}},
        {"phase": "derive", "path": [1]},
    ],
)
def test_another_versions_state_is_refused_with_what_to_do(stored):
    with pytest.raises(RunError, match="a: its checkpoint is of another version of onepath; remove the folder train/a"):
        read_state(stored, "a")
