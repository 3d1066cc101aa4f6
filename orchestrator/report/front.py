"""The front of a sweep as rows, as a table in the terminal, as a picture and as a page.

Why here: the one place others take reports from, made from results alone, so that a report can be made again long
after the sweep. It must not know MLflow, ray or where results come from.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.report.page import report_html
from orchestrator.report.png import front_png
from orchestrator.report.rows import cost_text, count_text, front_rows, percent_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["front_notes", "front_png", "front_rows", "front_table", "report_html"]


def front_table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    """Return rows from `front_rows` as a table for the terminal, readable from 80 columns on.

    A star marks the front; why a trial failed stands in `front_notes`. Architectures are too long for a terminal:
    the page and the rows have them.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("target", overflow="fold")  # the one column that gives way; a long name takes two lines
    for name in ("budget", "predicted", "measured", "top-1", "params", "MACs"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    previous = None
    for row in rows:
        if previous is not None and row["target"] != previous:
            table.add_section()
        done = row["status"] == "done"
        table.add_row(
            Text(row["target"] if row["target"] != previous else ""),
            *(cost_text(row[name], row["unit"]) for name in ("budget_ms", "predicted_ms", "latency_ms")),
            Text(percent_text(row["top1"])) if done else Text("failed", style="red"),
            count_text(row["num_params"]),
            count_text(row["num_macs"]),
            "*" if row["on_front"] else "",
            style="bold" if row["on_front"] else "dim",
        )
        previous = row["target"]
    return table


def front_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is said below the table, one line each: the star, the reasons of failures and doubts."""
    notes = ["* on the front of its target"]
    notes += [f"{row['trial']} failed: {row['reason']}" for row in rows if row["status"] != "done"]
    return notes + [f"{row['trial']} is in doubt: {row['doubt']}" for row in rows if row["doubt"]]
