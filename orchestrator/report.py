"""The front of a sweep as rows, as a table in the terminal, as a picture and as a page.

Why here: the one place others take reports from, made from results alone, so that a report can be made again long
after the sweep. It must not know MLflow, ray or where results come from.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.report_page import report_html
from orchestrator.report_png import front_png
from orchestrator.report_rows import count_text, front_rows, ms_text, percent_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["front_png", "front_rows", "front_table", "report_html"]


def front_table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    """Return rows from `front_rows` as a table for the terminal, readable from 80 columns on.

    A star marks the front; the reasons of failures and doubts stand below.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    table.add_column("target", no_wrap=True)
    for name in ("budget", "predicted", "measured", "top-1", "params", "MACs"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("architecture")  # the one column that gives way in a narrow terminal
    previous = None
    for row in rows:
        if previous is not None and row["target"] != previous:
            table.add_section()
        done = row["status"] == "done"
        architecture = Text(row["architecture"], no_wrap=True, overflow="ellipsis")
        table.add_row(
            Text(row["target"] if row["target"] != previous else ""),
            ms_text(row["budget_ms"]),
            ms_text(row["predicted_ms"]),
            ms_text(row["latency_ms"]),
            percent_text(row["top1"]),
            count_text(row["num_params"]),
            count_text(row["num_macs"]),
            "*" if row["on_front"] else "",
            architecture if done else Text("failed", style="red"),
            style="bold" if row["on_front"] else "dim",
        )
        previous = row["target"]
    notes = ["latencies in ms; * on the front of its target"]
    notes += [f"{row['trial']} failed: {row['reason']}" for row in rows if row["status"] != "done"]
    notes += [f"{row['trial']} is in doubt: {row['doubt']}" for row in rows if row["doubt"]]
    table.caption = Text("\n".join(notes))
    return table
