"""The cross table as a grid for terminal and page, as sentences, and as plain data.

Why here: all of them say the same. Made from results and columns alone; it must not know where these are kept.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestrator.plan.cross import Column, Figure, at_home, row_of, top1_on
from orchestrator.plan.result import TrialResult
from orchestrator.report.rows import ms_text, percent_text, spread_text
from supernet.plain import to_plain

TITLE = "Every network on every target (ms)"


def cross_grid(columns: Mapping[str, Column], results: Sequence[TrialResult]) -> list[list[str]]:
    """Return a row per network and a column per target, in milliseconds; the heading first.

    The top-1 is of the file that was delivered for the network's own target.

    Args:
        columns: By target.
        results: Of all trials; those without a figure have no row.
    """
    grid = [["network", "top-1 at home", *columns]]
    for result in rows_of(columns, results):
        row = row_of(columns, result)
        cells = [_cell(row[t]) if t in row else "-" for t in columns]
        grid.append([result.trial, percent_text(result.top1), *cells])
    return grid


def _cell(figure: Figure) -> str:
    return ms_text(figure.latency_ms) + spread_text(figure.error_ms)


def home_cells(columns: Mapping[str, Column], results: Sequence[TrialResult]) -> set[tuple[int, int]]:
    """Return the cells (row, column) of `cross_grid` in which a network is on the target it was searched for."""
    places = {target: number for number, target in enumerate(columns, 2)}
    rows = [(n, result) for n, result in enumerate(rows_of(columns, results), 1) if not result.baseline]
    return {(number, places[result.target]) for number, result in rows if result.target in places}


def rows_of(columns: Mapping[str, Column], results: Sequence[TrialResult]) -> list[TrialResult]:
    """Return the results that have a figure, by target and cost, each target's baselines after its own."""
    known = [result for result in results if result.done and row_of(columns, result)]
    return sorted(known, key=lambda result: (result.target, result.baseline, result.cost or 0.0))


def cross_notes(columns: Mapping[str, Column], results: Sequence[TrialResult], quantised: Collection[str]) -> list[str]:
    """Return what the table says: whether each target's own networks are the fastest on it, and what is in doubt.

    Args:
        columns: By target.
        results: Of all trials.
        quantised: Targets whose networks are int8.
    """
    said = [at_home(column, results, quantised).sentence for column in columns.values()]
    noisy = [f"{name}: noisy measurement: {column.noise}" for name, column in columns.items() if column.noise]
    return [*said, *noisy]


def cross_plain(
    columns: Mapping[str, Column], results: Sequence[TrialResult], quantised: Collection[str]
) -> dict[str, Any]:
    """Return what `cross_table.json` holds; arguments as `cross_notes`."""
    return {
        "targets": list(columns),
        "noise": {name: column.noise for name, column in columns.items()},
        "networks": [
            {
                "trial": result.trial,
                "target": result.target,
                "architecture": result.architecture,
                "top1": result.top1,
                "on": {
                    target: to_plain(figure) | {"top1": top1_on(columns[target], result, quantised)}
                    for target, figure in row_of(columns, result).items()
                },
            }
            for result in rows_of(columns, results)
        ],
        "home": [to_plain(at_home(column, results, quantised)) for column in columns.values()],
        "sentences": cross_notes(columns, results, quantised),
    }


def latencies_on(columns: Mapping[str, Column], result: TrialResult) -> dict[str, float]:
    """Return a network's latency on each target that it was measured on, in milliseconds."""
    return {target: figure.latency_ms for target, figure in row_of(columns, result).items()}
