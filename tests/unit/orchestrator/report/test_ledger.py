"""The ledger as a table, as sentences and as the grid of the page."""

from dataclasses import replace

from rich.console import Console

from orchestrator.plan.ledger import BETWEEN, SWEEP, Run, Spent, total
from orchestrator.report.ledger import hours_text, ledger_grid, ledger_notes, ledger_table

LEDGER = total(
    [
        Run(
            wall_seconds=100.0,
            forecast={"search": 40.0, "wall": 90.0},
            spent=(
                Spent(SWEEP, BETWEEN, 10.0, 0.0),
                Spent("a", "search", 50.0, 100.0),
                Spent("a", "workers", 20.0, 0.0),
                Spent("b", "search", 20.0, 40.0),
            ),
        )
    ]
)


def test_the_table_has_time_share_device_hours_and_forecast_of_each_phase():
    console = Console(width=100)
    with console.capture() as captured:
        console.print(ledger_table(LEDGER))
    rows = [line.split() for line in captured.get().splitlines()]
    assert ["search", "1:10", "70%", "0.039", "0:40"] in rows
    assert ["workers", "0:20", "20%", "0.000"] in rows


def test_the_notes_say_the_whole_the_overhead_and_what_a_trial_takes():
    whole, trial = ledger_notes(LEDGER, ["a", "b", "never-begun"])
    assert whole.startswith("took 1:40, forecast 1:30, 0.039 device-hours; 30% of the work's time is overhead")
    assert trial == "a trial took 0:45 on average, 0:10 of it overhead"
    ranged = replace(LEDGER, forecast={"least": 60.0, "wall": 90.0})
    assert "took 1:40, forecast 1:00 to 1:30, 0.039" in ledger_notes(ranged, [])[0]
    assert ledger_notes(total([]), ["a"])[0].startswith("took 0:00, 0.000 device-hours")


def test_the_page_has_a_row_per_piece_of_work_their_sum_and_the_forecast():
    assert ledger_grid(LEDGER) == [
        ["", "search", "workers", BETWEEN, "in all", "overhead", "device-hours"],
        [SWEEP, "", "", "0:10", "0:10", "100%", "0.000"],
        ["a", "0:50", "0:20", "", "1:10", "29%", "0.028"],
        ["b", "0:20", "", "", "0:20", "0%", "0.011"],
        ["in all", "1:10", "0:20", "0:10", "1:40", "30%", "0.039"],
        ["forecast", "0:40", "", "", "", "", ""],
    ]


def test_hours_have_decimals_that_suit_their_size():
    assert [hours_text(3600 * hours) for hours in (0.0123, 12.34, 1234)] == ["0.012", "12.3", "1234"]
