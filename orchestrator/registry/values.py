"""A trial's result as the text MLflow keeps, and back; and the choice among what is kept.

Why here: pure functions of results, apart from the file that speaks to MLflow. It must not know MLflow, torch or ray.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.plan.result import TrialResult
from orchestrator.report.rows import cost_text, limit_text
from supernet.errors import InputError, nearest

SWEEP_TAG = "onepath.sweep"
TRIAL_TAG = "onepath.trial"
ROLE_TAG = "onepath.role"
METRICS = (
    "top1",
    "latency_ms",
    "predicted_ms",
    "num_params",
    "num_macs",
    "validation_top1",
    "latency_median_ms",
    "latency_error_ms",
)
PARAMS = ("target", "objective", "budget_ms", "latency_weight", "architecture", "seed")
TEXTS = ("target", "objective", "architecture", "doubt", "unit")
INTEGERS = ("num_params", "num_macs", "seed")
FLOATS = ("budget_ms", "latency_weight", *(name for name in METRICS if name not in INTEGERS))


def to_tags(result: TrialResult) -> dict[str, str]:
    """Return a result as tags of a version: every field that has a value, floats to the last digit."""
    tags = {SWEEP_TAG: result.sweep, TRIAL_TAG: result.trial, "trial": result.trial}
    for name in (*TEXTS, *INTEGERS):
        value = getattr(result, name)
        if value not in (None, ""):
            tags[name] = str(value)
    for name in FLOATS:
        value = getattr(result, name)
        if value is not None:
            tags[name] = repr(float(value))
    return tags


def from_tags(tags: Mapping[str, str], model_uri: str) -> TrialResult:
    """Read back what `to_tags` wrote; tags of other makers are left alone."""
    values: dict[str, Any] = {"sweep": tags[SWEEP_TAG], "trial": tags[TRIAL_TAG], "model_uri": model_uri}
    values |= {name: tags[name] for name in TEXTS if name in tags}
    values |= {name: int(tags[name]) for name in INTEGERS if name in tags}
    values |= {name: float(tags[name]) for name in FLOATS if name in tags}
    return TrialResult.from_dict(values)


def best_within(results: Iterable[TrialResult], target: str, max_ms: float) -> TrialResult:
    """Return the most accurate result of a target whose measured latency is at most `max_ms`; the faster of equals.

    For a target that counts, `max_ms` is a count.

    Raises:
        InputError: If the target has no result, or none that low; then the message names the lowest.
    """
    measured = [(r.latency_ms, r.top1, r) for r in results if r.latency_ms is not None and r.top1 is not None]
    targets = {result.target for _, _, result in measured}
    if target not in targets:
        raise InputError(f"no registered network for target {target!r}{nearest(target, targets)}")
    of_target = [entry for entry in measured if entry[2].target == target]
    fitting = [entry for entry in of_target if entry[0] <= max_ms]
    if not fitting:
        latency_ms, top1, lowest = min(of_target, key=lambda entry: entry[:2])
        raise InputError(
            f"no network within {cost_text(max_ms, lowest.unit)} on target {target}; the lowest is "
            f"{cost_text(latency_ms, lowest.unit)} (top-1 {top1:.4f}, {lowest.model_uri}); "
            f"allow {limit_text(latency_ms, lowest.unit)}, or search with a tighter budget"
        )
    return min(fitting, key=lambda entry: (-entry[1], entry[0]))[2]
