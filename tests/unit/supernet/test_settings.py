"""Settings refuse nonsense whoever makes them: every number has a range, and what goes with what is checked."""

import math
from dataclasses import fields

import pytest

from supernet.derive import DeriveSettings
from supernet.errors import InputError
from supernet.objective import ObjectiveSettings
from supernet.plain import read, to_plain
from supernet.prune import PruneSettings
from supernet.search_settings import SearchSettings
from supernet.sharing import SharingSettings
from supernet.specialise import TrainSettings

KINDS = (SearchSettings, TrainSettings, ObjectiveSettings, PruneSettings, SharingSettings, DeriveSettings)
UNSET = {SearchSettings: {"arch_batch_size": 1}, SharingSettings: {"candidate_momentum": 0.5}}
"""A number for each field that has none by default."""
NONSENSE = (-5, -1e-9, math.nan, math.inf, -math.inf, 1e30, 10**30, "many", True, [1], {})


def required(kind):
    return {"num_steps": 8} if kind in (SearchSettings, TrainSettings) else {}


def numbers(kind):
    """Return (kind, field) of every field that holds a number."""
    made = to_plain(kind(**required(kind))) | UNSET.get(kind, {})
    return [(kind, f.name) for f in fields(kind) if type(made[f.name]) in (int, float)]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
@pytest.mark.parametrize(("kind", "name"), [pair for kind in KINDS for pair in numbers(kind)])
def test_no_number_takes_nonsense(kind, name, value):
    with pytest.raises(ValueError, match=name):
        kind(**(required(kind) | {name: value}))
    with pytest.raises(InputError, match=rf"^mine\.{name}: "):
        read(kind, required(kind) | {name: value}, "mine")


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (SearchSettings, {"batch_size": 0}, r"mine\.batch_size: 0: "),
        (SearchSettings, {"batch_size": 2.5}, r"mine\.batch_size: 2\.5: "),
        (SearchSettings, {"momentum": 5}, r"mine\.momentum: 5: .* less than 1"),
        (SearchSettings, {"label_smoothing": 2}, r"mine\.label_smoothing: 2: "),
        (SearchSettings, {"train_weights": "yes"}, r"mine\.train_weights: 'yes': "),
        (SearchSettings, {"estimator": "onepath"}, r"mine\.estimator: 'onepath': .*'one-path'"),
        (SearchSettings, {"estimator": "reinforce", "num_samples": 1}, "reinforce needs at least 2 paths"),
        (SearchSettings, {"prune": {"every": 0}}, r"mine\.prune\.every: 0: "),
        (SearchSettings, {"objective": {"kind": "add-linear"}}, r"mine\.objective\.kind: 'add-linear': .*'add_linear'"),
        (TrainSettings, {"warmup_steps": 8}, "warmup_steps 8 must be below num_steps 8"),
        (TrainSettings, {"precision": "fp16"}, r"mine\.precision: 'fp16': "),
    ],
)
def test_settings_that_cannot_work_are_refused(kind, wrong, message):
    with pytest.raises(InputError, match=message):
        read(kind, {"num_steps": 8, **wrong}, "mine")


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_and_whole_numbers_are_read_back(kind):
    made = kind(**required(kind))
    assert read(kind, to_plain(made), "mine") == made
    assert ObjectiveSettings(weight=1) == ObjectiveSettings(weight=1.0)
