"""What a report shows: one row per trial, and its numbers as text.

Why here: table, picture and page say the same. It must not know how anything is drawn.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from orchestrator.plan.result import TrialResult
from orchestrator.report.pareto import non_dominated

Row = dict[str, Any]
NOT_A_NUMBER = float("nan")
FRONT_COLOUR, OTHER_COLOUR, BUDGET_COLOUR = "#1f6f8b", "#9aa5b1", "#d1495b"


def front_rows(results: Iterable[TrialResult]) -> list[Row]:
    """Return one row per trial, by target and latency, with failed trials at the end of their target.

    Each has the keys target, budget_ms, predicted_ms, latency_ms, top1, num_params, num_macs, architecture, model_uri,
    on_front and status, and further latency_error_ms, latency_weight, trial, reason, doubt and unit; where the unit
    is "1", the keys in milliseconds hold counts. A trial is on the front of its target if no other trial that is done
    is as fast and as accurate and better in one (`non_dominated`).
    """
    ordered = sorted(results, key=lambda r: (r.target, not r.done, _number(r.latency_ms, np.inf), r.trial))
    rows: list[Row] = []
    for target in dict.fromkeys(result.target for result in ordered):
        members = [result for result in ordered if result.target == target]
        latency = [_number(r.latency_ms) if r.done else NOT_A_NUMBER for r in members]
        mask = non_dominated(latency, [_number(r.top1) for r in members])
        rows += [_row(result, bool(on_front)) for result, on_front in zip(members, mask, strict=True)]
    return rows


def _number(value: float | None, missing: float = NOT_A_NUMBER) -> float:
    return missing if value is None else value


def _row(result: TrialResult, on_front: bool) -> Row:
    return {
        "target": result.target,
        "budget_ms": result.budget_ms,
        "predicted_ms": result.predicted_ms,
        "latency_ms": result.latency_ms,
        "top1": result.top1,
        "num_params": result.num_params,
        "num_macs": result.num_macs,
        "architecture": result.architecture,
        "model_uri": result.model_uri,
        "on_front": on_front,
        "status": result.status,
        "latency_error_ms": result.latency_error_ms,
        "latency_weight": result.latency_weight,
        "trial": result.trial,
        "reason": result.reason,
        "doubt": result.doubt,
        "unit": result.unit,
    }


def cost_text(value: float | None, unit: str) -> str:
    """Return what a network costs on its target, with its unit: `1.234 ms`, or a count such as `1.23 M`."""
    if value is None or unit == "1":
        return count_text(value)
    return f"{ms_text(value)} ms"


def limit_text(value: float, unit: str) -> str:
    """Return a limit to type that a network of this cost keeps: 2 % above a latency, a count to the last digit."""
    return f"{value:.0f}" if unit == "1" else f"{1.02 * value:.3g}"


def tick_text(value: float, unit: str) -> str:
    """Return a cost as it stands at an axis, which names the unit."""
    return count_text(value) if unit == "1" else f"{value:.3g}"


def cost_label(target: str, unit: str) -> str:
    """Return the name of an axis of costs on a target."""
    return f"{target}, counted" if unit == "1" else "measured latency (ms)"


def count_text(value: float | None) -> str:
    """Return a count in three digits with k, M or G, such as `1.23 M`."""
    if value is None:
        return "-"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def ms_text(value: float | None) -> str:
    """Return milliseconds in a fixed number of decimals that suits their size."""
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def percent_text(top1: float | None) -> str:
    """Return an accuracy of 0..1 as per cent."""
    return "-" if top1 is None else f"{100 * top1:.1f} %"
