"""The fronts of a sweep as a picture.

Why here: for a README, a mail or a terminal that shows images. It must not know MLflow, ray or where rows come from.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.report.rows import (
    BASELINE_COLOUR,
    BUDGET_COLOUR,
    FRONT_COLOUR,
    OTHER_COLOUR,
    Row,
    cost_label,
    percent_text,
    tick_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def front_png(rows: Sequence[Row]) -> bytes:
    """Return a PNG of the front of every target, a panel each: top-1 against measured latency, or what is counted.

    Error bars are one standard error of the measurement and the 95 % interval of the top-1, dotted lines the budgets;
    the step line is the best top-1 within a latency.

    Args:
        rows: From `front_rows`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    targets = list(dict.fromkeys(row.result.target for row in rows))
    columns = max(1, min(len(targets), 3))
    lines = max(1, -(-len(targets) // columns))
    figure = Figure(figsize=(4.6 * columns + 0.6, 3.7 * lines + 0.8), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).ravel()
    for panel, target in zip(panels, targets, strict=False):
        _draw_target(panel, target, [row for row in rows if row.result.target == target])
    for panel in panels[len(targets) :]:
        panel.set_axis_off()
    rare = {
        "rejected": any(row.result.status == "rejected" for row in rows),
        "baseline": any(row.result.baseline for row in rows),
    }
    marks = [handle for name, handle in _legend().items() if rare.get(name, True)]
    figure.legend(handles=marks, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _legend() -> dict[str, Any]:
    from matplotlib.lines import Line2D

    looks: dict[str, dict[str, Any]] = {
        "on the front": {"color": FRONT_COLOUR, "marker": "o", "markersize": 7, "linewidth": 1.6},
        "beaten by another trial": {"color": OTHER_COLOUR, "marker": "o", "markersize": 5, "linestyle": "none"},
        "baseline": {"color": BASELINE_COLOUR, "marker": "D", "markersize": 6, "linestyle": "none"},
        "budget": {"color": BUDGET_COLOUR, "linestyle": ":", "linewidth": 1.3},
        "rejected": {"color": BUDGET_COLOUR, "marker": "x", "markersize": 6, "linestyle": "none"},
    }
    return {name: Line2D([], [], label=name, **look) for name, look in looks.items()}


def _draw_target(panel: "Axes", target: str, rows: Sequence[Row]) -> None:
    from matplotlib.ticker import EngFormatter

    panel.set_title(target, fontsize=11, fontweight="bold", loc="left")
    unit = rows[0].result.unit
    panel.set_xlabel(cost_label(rows))
    if unit == "1":
        panel.xaxis.set_major_formatter(EngFormatter())
    panel.set_ylabel("top-1 on the test split (%)")
    panel.grid(color="#e6e9ed", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.locator_params(nbins=6)
    done = [row for row in rows if row.is_drawn]
    if not done:
        panel.text(0.5, 0.5, "no finished trial", ha="center", transform=panel.transAxes, color=OTHER_COLOUR)
        return
    front = [row for row in done if row.on_front]
    fair = [row for row in done if row.result.done]
    beaten = [row for row in fair if not row.on_front and not row.result.baseline]
    _draw_points(panel, beaten, OTHER_COLOUR, size=5, layer=2)
    _draw_points(panel, [row for row in fair if row.result.baseline], BASELINE_COLOUR, size=6, layer=3, marker="D")
    _draw_points(panel, [row for row in done if not row.result.done], BUDGET_COLOUR, size=6, layer=2, marker="x")
    _draw_points(panel, front, FRONT_COLOUR, size=7, layer=4)
    budgets = sorted({row.result.budget for row in rows if row.result.budget is not None})
    ends = [100 * (row.place[1] + end) for row in done for end in (-row.spread[1], row.spread[2])]
    _frame(panel, budgets, ends)
    if front:
        _draw_front(panel, front)
    for budget in budgets:
        panel.axvline(budget, color=BUDGET_COLOUR, linestyle=":", linewidth=1.3, zorder=1)
    if budgets:
        above = panel.secondary_xaxis("top")
        above.set_xticks(
            budgets, [tick_text(budget, unit) for budget in budgets], rotation=45 if len(budgets) > 5 else 0
        )
        above.tick_params(colors=BUDGET_COLOUR, length=3, labelsize=8)
        above.spines["top"].set_visible(False)


def _draw_points(
    panel: "Axes", rows: Sequence[Row], colour: str, *, size: float, layer: int, marker: str = "o"
) -> None:
    panel.errorbar(
        [row.place[0] for row in rows],
        [100 * row.place[1] for row in rows],
        xerr=[row.spread[0] for row in rows],
        yerr=[[100 * row.spread[1] for row in rows], [100 * row.spread[2] for row in rows]],
        fmt=marker,
        color=colour,
        markersize=size,
        capsize=3,
        elinewidth=1.2,
        zorder=layer,
    )


def _frame(panel: "Axes", budgets: Sequence[float], percents: Sequence[float]) -> None:
    """Give points, labels and budgets room."""
    low, high = panel.get_xlim()
    low, high = min([low, *budgets]), max([high, *budgets])
    panel.set_xlim(max(0.0, low - 0.05 * (high - low)), high + 0.12 * (high - low))
    panel.set_ylim(*percent_limits(percents))


def percent_limits(percents: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis of per cents: points that tie still span one, and nothing lies above 100."""
    low, high = min(percents), max(percents)
    span = max(1.0, high - low)
    middle = (low + high) / 2
    return middle - 0.65 * span, min(middle + 0.65 * span, 100 + 0.05 * span)


def _draw_front(panel: "Axes", front: Sequence[Row]) -> None:
    panel.step(
        [*(row.place[0] for row in front), panel.get_xlim()[1]],
        [*(100 * row.place[1] for row in front), 100 * front[-1].place[1]],
        where="post",
        color=FRONT_COLOUR,
        linewidth=1.6,
        alpha=0.7,
        zorder=3,
    )
    for row in front:
        # Below and right of a point the step line leaves room.
        panel.annotate(
            percent_text(row.place[1]),
            (row.place[0], 100 * row.place[1]),
            xytext=(7, -5),
            textcoords="offset points",
            va="top",
            fontsize=9,
            color=FRONT_COLOUR,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
            zorder=5,
        )
