"""What a report shows: one row per trial, and its numbers as text.

Why here: table, picture and page say the same. It must not know how anything is drawn.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, dataclass
from decimal import Decimal
from math import ceil, log10
from typing import Any

from orchestrator.plan.result import TrialResult, told
from orchestrator.report.pareto import non_dominated

NOT_A_NUMBER = float("nan")
FRONT_COLOUR, OTHER_COLOUR, BUDGET_COLOUR, BASELINE_COLOUR = "#1f6f8b", "#9aa5b1", "#d1495b", "#8e6bbf"


@dataclass(frozen=True)
class Row:
    """One trial, and whether it is on the front of its target."""

    result: TrialResult
    on_front: bool

    def to_plain(self) -> dict[str, Any]:
        """Return what `--json` prints: what is told of the result, and `on_front`."""
        return told(self.result) | {"on_front": self.on_front}

    def cell(self, column: Field[Any]) -> str:
        """Return the text of one of `orchestrator.plan.result.columns`."""
        return CELLS[column.metadata["reads"]](self.result, column.name)

    @property
    def place(self) -> tuple[float, float]:
        """Cost and top-1 of a trial that `is_drawn`."""
        assert self.result.cost is not None, self.result
        assert self.result.top1 is not None, self.result
        return self.result.cost, self.result.top1

    @property
    def spread(self) -> tuple[float, float, float]:
        """Half-length of the cost's error bar, and of the top-1's below and above: one standard error, and 95 %."""
        top1 = self.result.top1 or 0.0
        low, high = self.result.intervals.get("top1", (top1, top1))
        return self.result.cost_error or 0.0, top1 - low, high - top1

    @property
    def is_drawn(self) -> bool:
        """Whether the trial has a place in a picture."""
        return self.result.cost is not None and self.result.top1 is not None


def front_rows(results: Iterable[TrialResult]) -> list[Row]:
    """Return one row per trial, by target and cost, with rejected and failed ones at the end of their target.

    A searched network is on the front of its target if no other trial that is done costs as little and is as accurate
    and is better in one (`non_dominated`); a baseline is on none, and keeps none off.
    """
    ordered = sorted(results, key=lambda r: (r.target, not r.done, r.cost is None, r.cost or 0.0, r.trial))
    rows: list[Row] = []
    for target in dict.fromkeys(result.target for result in ordered):
        members = [result for result in ordered if result.target == target]
        costs = [r.cost if r.done and not r.baseline and r.cost is not None else NOT_A_NUMBER for r in members]
        mask = non_dominated(costs, [NOT_A_NUMBER if r.top1 is None else r.top1 for r in members])
        rows += [Row(result, bool(on_front)) for result, on_front in zip(members, mask, strict=True)]
    return rows


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


def cost_label(rows: Sequence[Row]) -> str:
    """Return the name of an axis of costs on a target, of which the rows are."""
    if rows[0].result.unit == "1":
        return f"{rows[0].result.target}, counted"
    return f"{'measured' if all(row.result.measured for row in rows) else 'published'} latency (ms)"


def found_text(result: TrialResult) -> str:
    """Return what a network costs, and whether that is a published figure: other latencies are measured."""
    text = cost_text(result.cost, result.unit)
    return text if result.measured or result.unit == "1" else f"{text} (published)"


def asked_text(result: TrialResult) -> str:
    """Return what was asked of a trial: `budget 1.234 ms`, or `weight 0.1`; nothing of a baseline."""
    if result.latency_weight is not None:
        return f"weight {result.latency_weight:g}"
    return "" if result.budget is None else f"budget {cost_text(result.budget, result.unit)}"


def count_text(value: float | None, digits: int = 3) -> str:
    """Return a count in so many digits with k, M or G, such as `1.23 M`."""
    if value is None:
        return "-"
    value = float(f"{value:.{digits}g}")
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{Decimal(repr(value / size)).normalize():f} {unit}"
    return f"{value:.0f}"


def bytes_text(value: float | None) -> str:
    """Return a size in three digits, such as `1.23 MB`."""
    text = count_text(value)
    return text if value is None else f"{text}{'B' if text[-1].isalpha() else ' B'}"


def ms_text(value: float | None) -> str:
    """Return milliseconds in a fixed number of decimals that suits their size."""
    if value is None:
        return "-"
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def spread_text(error_ms: float | None) -> str:
    """Return the standard error of a latency as it stands behind it, to one digit; nothing where there is none."""
    if not error_ms:
        return ""
    return f" ± {error_ms:.{max(0, ceil(-log10(error_ms)))}f}"


def percent_text(top1: float | None) -> str:
    """Return an accuracy of 0..1 as per cent."""
    return "-" if top1 is None else f"{100 * top1:.1f} %"


def accuracy_text(result: TrialResult, name: str) -> str:
    """Return an accuracy with the ends of its 95 % interval where they are known: `57.8 % (43-71)`."""
    text = percent_text(getattr(result, name))
    if name not in result.intervals:
        return text
    low, high = (100 * end for end in result.intervals[name])
    digits = 0 if high - low > 5 else 1
    return f"{text} ({low:.{digits}f}-{high:.{digits}f})"


CELLS: dict[str, Callable[[TrialResult, str], str]] = {
    "text": lambda result, name: getattr(result, name) or "-",
    "number": lambda result, name: "-" if getattr(result, name) is None else f"{getattr(result, name):g}",
    "cost": lambda result, name: (
        found_text(result) if name == "cost" else cost_text(getattr(result, name), result.unit)
    ),
    "count": lambda result, name: count_text(getattr(result, name)),
    "bytes": lambda result, name: bytes_text(getattr(result, name)),
    "accuracy": accuracy_text,
}
"""How a column is written, by `reads` of its field."""
