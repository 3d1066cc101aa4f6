"""Where the time of a sweep went, as a short table in the terminal and as a wide one on the page.

Why here: both say the same. Made from the ledger alone; it must not know where that is kept.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from orchestrator.plan.ledger import Spent, Total, phases
from orchestrator.report.live import clock, clock_range

if TYPE_CHECKING:
    from rich.table import Table


def ledger_table(ledger: Total) -> "Table":
    """Return time, device-hours and forecast per phase, over all work, as a table for the terminal."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("time of")
    for column in ("time", "share", "device-hours", "forecast"):
        table.add_column(column, justify="right", no_wrap=True)
    for spent in ledger.by_phase():
        forecast = ledger.forecast.get(spent.phase)
        table.add_row(
            spent.phase,
            clock(spent.seconds),
            f"{spent.seconds / max(ledger.seconds, 1e-9):.0%}",
            hours_text(spent.device_seconds),
            "" if forecast is None else clock(forecast),
            style="dim" if spent.overhead else "",
        )
    return table


def ledger_notes(ledger: Total, trials: Sequence[str]) -> list[str]:
    """Return what is said below the table: the whole beside its forecast, the share of overhead, what a trial took.

    Args:
        ledger: Of the sweep.
        trials: Keys of its trials.
    """
    whole = ledger.forecast.get("wall")
    forecast = "" if whole is None else f", forecast {clock_range(ledger.forecast.get('least', whole), whole)}"
    runs = f" in {ledger.num_runs} runs" if ledger.num_runs > 1 else ""
    said = [
        f"took {clock(ledger.wall_seconds)}{runs}{forecast}, {hours_text(3600 * ledger.device_hours)} device-hours; "
        f"{ledger.overhead_share:.0%} of the work's time is overhead: starting, importing, exporting, waiting"
    ]
    each = [spent for key, spent in ledger.by_key().items() if key in set(trials)]
    if each:
        mean = fmean(sum(one.seconds for one in spent) for spent in each)
        overhead = fmean(sum(one.seconds for one in spent if one.overhead) for spent in each)
        said.append(f"a trial took {clock(mean)} on average, {clock(overhead)} of it overhead")
    return said


def ledger_grid(ledger: Total) -> list[list[str]]:
    """Return a row per piece of work and a column per phase, with their sums and the forecast; the heading first."""
    columns = phases(ledger.spent)
    grid = [["", *columns, "in all", "overhead", "device-hours"]]
    for key, spent in ledger.by_key().items():
        grid.append([key, *_cells(spent, columns)])
    grid.append(["in all", *_cells(ledger.by_phase(), columns)])
    if ledger.forecast:
        grid.append(["forecast", *(_time(ledger.forecast.get(phase)) for phase in columns), "", "", ""])
    return grid


def _cells(spent: Sequence[Spent], columns: Sequence[str]) -> list[str]:
    by_phase = {one.phase: one.seconds for one in spent}
    whole, overhead = sum(by_phase.values()), sum(one.seconds for one in spent if one.overhead)
    share = f"{overhead / max(whole, 1e-9):.0%}"
    devices = hours_text(sum(one.device_seconds for one in spent))
    return [*(_time(by_phase.get(phase)) for phase in columns), clock(whole), share, devices]


def _time(seconds: float | None) -> str:
    return "" if seconds is None else clock(seconds)


def hours_text(seconds: float) -> str:
    """Return seconds as hours, with decimals that suit their size."""
    hours = seconds / 3600
    return f"{hours:.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 10 else f"{hours:.3f}"
