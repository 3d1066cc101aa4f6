"""Pictures of tables: a heat map of costs, and predicted against measured. Draws, computes nothing.

`matplotlib` is imported inside, with a backend that needs no screen.
"""

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from latency.checks.verdict import Report
from supernet.cost import CostTable
from supernet.errors import InputError
from supernet.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, RANDOM, STRUCTURED = "#1f2933", "#7b8794", "#2a78b8", "#d9622b"


def heat_map(space: Space, costs: CostTable, file: FilePath | str) -> None:
    """Draw cost per position (down) and candidate (across), the share of fixed layers below.

    Args:
        space: Of the costs.
        costs: Of any target.
        file: PNG to write.

    Raises:
        InputError: If the space has no choices.
    """
    if not space.positions:
        raise InputError(f"space {space.name!r} has no choices: there is no heat map of it; leave out --png")
    names = list(dict.fromkeys(op.short for position in space.positions for op in position.candidates))
    grid = [[float("nan")] * len(names) for _ in space.positions]
    for row, (position, values) in enumerate(zip(space.positions, costs.candidates, strict=True)):
        for op, value in zip(position.candidates, values, strict=True):
            grid[row][names.index(op.short)] = value
    peak = max(value for row in grid for value in row if value == value)
    figure = _figure(1.9 + 0.78 * len(names), 1.7 + 0.27 * len(grid))
    axes = figure.add_subplot()
    image = axes.imshow(grid, cmap="YlOrRd", vmin=0.0, vmax=peak, aspect="auto")
    for row, costs_of_row in enumerate(grid):
        for column, value in enumerate(costs_of_row):
            if value == value:
                tone = "white" if value > 0.62 * peak else INK
                axes.text(column, row, _short(value), ha="center", va="center", fontsize=7.5, color=tone)
    axes.set_xticks(range(len(names)), ["skip" if name == "z" else name for name in names])
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(grid)), [position.name for position in space.positions])
    axes.tick_params(length=0, labelsize=8.5, colors=INK)
    starts = [i for i in range(1, len(grid)) if space.positions[i].row != space.positions[i - 1].row]
    axes.hlines([start - 0.5 for start in starts], -0.5, len(names) - 0.5, color="white", linewidth=3)
    axes.spines[:].set_visible(False)
    unit = "" if costs.unit == "1" else f" ({costs.unit})"
    figure.suptitle(f"Cost per position and candidate{unit}\n{space.name} on {costs.name}", fontsize=11, color=INK)
    span = f"networks from {_short(costs.minimum)} to {_short(costs.maximum)}{unit}"
    axes.set_xlabel(
        f"fixed layers {_short(costs.fixed)}  ·  {span}",
        fontsize=8.5,
        color=MUTED,
        labelpad=8,
    )
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, colors=MUTED)
    figure.savefig(str(file), dpi=150)


def predicted_against_measured(report: Report, file: FilePath | str) -> None:
    """Draw a verification: predictions over measurements, and their errors with the 5 and 10 % bands.

    Args:
        report: Of `verify`.
        file: PNG to write.
    """
    figure = _figure(10.5, 4.6)
    left, right = figure.subplots(1, 2)
    measured = [probe.measured_ms for probe in report.probes]
    low, high = 0.93 * min(measured), 1.05 * max(measured)
    left.plot([low, high], [low, high], color=MUTED, linewidth=1, zorder=1)
    left.fill_between([low, high], [0.95 * low, 0.95 * high], [1.05 * low, 1.05 * high], color=MUTED, alpha=0.15)
    right.axhspan(-5, 5, color=MUTED, alpha=0.15)
    right.axhline(0, color=MUTED, linewidth=1)
    for edge in (-10, 10):
        right.axhline(edge, color=MUTED, linewidth=0.8, linestyle=":")
    for kind, color, marker in (("random", RANDOM, "o"), ("structured", STRUCTURED, "s")):
        probes = [probe for probe in report.probes if probe.kind == kind]
        x = [probe.measured_ms for probe in probes]
        style: dict[str, Any] = {"color": color, "marker": marker, "s": 26, "alpha": 0.85, "linewidths": 0, "zorder": 2}
        left.scatter(x, [probe.judged_ms for probe in probes], label=f"{kind} ({len(probes)})", **style)
        errors = [100 * (probe.judged_ms / probe.measured_ms - 1) for probe in probes]
        right.scatter(x, errors, **style)
        for probe, error in zip(probes, errors, strict=True):
            if abs(error) > 5:
                right.annotate(probe.name, (probe.measured_ms, error), (4, 4), textcoords="offset points", fontsize=7)
    reach = max(11.0, *(110 * abs(probe.judged_ms / probe.measured_ms - 1) for probe in report.probes))
    right.set_ylim(-reach, reach)
    left.set(xlabel="measured (ms)", ylabel="predicted (ms)", xlim=(low, high), ylim=(low, high))
    right.set(xlabel="measured (ms)", ylabel="error of the prediction (%)", xlim=(low, high))
    left.legend(frameon=False, fontsize=8.5, loc="upper left")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8.5, colors=INK)
    figure.suptitle(
        f"{report.space} on {report.target}: {report.verdict}  (band: 5 %; the measurement itself repeats to "
        f"{report.repeat_median:.1%} in the median)",
        fontsize=10.5,
        color=INK,
    )
    figure.savefig(str(file), dpi=150)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _short(value: float) -> str:
    """Write a number in four places: 0.0123, 1.234, 18.94, 375M."""
    if value == 0:
        return "0"
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * factor or (abs(value) >= factor and suffix != "k"):
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
