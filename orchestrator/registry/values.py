"""A trial's result as what MLflow keeps, and back.

Why here: pure functions of results, apart from the files that speak to MLflow. It must not know MLflow, torch or ray.
"""

from collections.abc import Mapping
from dataclasses import fields

from orchestrator.plan.result import TrialResult, outward_name
from supernet.errors import InputError
from supernet.plain import read

SWEEP_TAG = "onepath.sweep"
TRIAL_TAG = "onepath.trial"
ROLE_TAG = "onepath.role"
REASON_TAG = "onepath.reason"
FOLDER_TAG, PLACE_TAG = "onepath.folder", "onepath.place"
"""Of a sweep's run: whose it is, see `orchestrator.registry.runs.Folder`. The first also of models and versions."""

UNKEPT = ("model_uri",)
"""What a version says by its name."""


def metrics_of(result: TrialResult) -> dict[str, float]:
    """Return the numbers of a result by their names in MLflow, the ends of the 95 % intervals among them."""
    found = {name: float(value) for name, value in _named(result, "metric").items()}
    for name, (low, high) in result.intervals.items():
        found |= {f"{name}_low": low, f"{name}_high": high}
    return found


def params_of(result: TrialResult) -> dict[str, str]:
    """Return what was asked for and what was found, by its names in MLflow."""
    return {name: _text(value) for name, value in _named(result, "param").items()}


def to_tags(result: TrialResult) -> dict[str, str]:
    """Return a result as tags of a version: every field that has a value, floats to the last digit."""
    tags = {SWEEP_TAG: result.sweep, TRIAL_TAG: result.trial}
    tags |= {name: _text(value) for name, value in _named(result, None).items()}
    return tags | {f"{name}_interval": f"{low:.4f} to {high:.4f}" for name, (low, high) in result.intervals.items()}


def from_tags(tags: Mapping[str, str], model_uri: str) -> TrialResult:
    """Read back what `to_tags` wrote; tags of other makers are left alone.

    Raises:
        InputError: If a tag of ours was changed to what it cannot be.
    """
    unit = tags.get("unit", "ms")
    names = {field.name: outward_name(field, unit) for field in fields(TrialResult)}
    values = {field: tags[name] for field, name in names.items() if name in tags}
    try:
        result: TrialResult = read(TrialResult, values | {"model_uri": model_uri}, f"tags of {model_uri}")
    except InputError as error:
        raise InputError(
            f"{error}; put the tag back, or delete this version in MLflow: the sweep registers another"
        ) from error
    return result


def _named(result: TrialResult, role: str | None) -> dict[str, str | int | float]:
    """Return the values of the fields that play a role in MLflow, of all kept ones for None."""
    kept = [field for field in fields(result) if field.name not in UNKEPT]
    wanted = [field for field in kept if role is None or field.metadata.get("mlflow") == role]
    pairs = [(outward_name(field, result.unit), getattr(result, field.name)) for field in wanted]
    return {name: value for name, value in pairs if value not in (None, "")}


def _text(value: str | int | float) -> str:
    return repr(value) if isinstance(value, float) else str(value)
