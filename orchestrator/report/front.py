"""The front of a sweep as a table for the terminal, and what is said below it; made from rows alone.

It must not know MLflow, ray or where results come from.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.plan.result import TrialResult, columns
from orchestrator.report.rows import Row, accuracy_text

if TYPE_CHECKING:
    from rich.table import Table

MIN_WIDTH = 12
"""Characters of a line that the names of targets keep beside long names of baselines."""


def front_table(rows: Sequence[Row]) -> "Table":
    """Return rows from `front_rows` as a table for the terminal, readable from 80 columns on.

    A star marks the front; why a trial was rejected or failed stands in `front_notes`. Architectures are too long for a
    terminal: the page and the rows have them.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    target, *numbers = columns([row.result for row in rows], wide=False)
    longest = max((len(row.result.target) for row in rows), default=0)
    table.add_column(target.metadata["column"], overflow="fold", min_width=min(longest, MIN_WIDTH))  # names give way
    for column in numbers:
        table.add_column(column.metadata["column"], justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    previous = None
    for row in rows:
        result = row.result
        if previous is not None and result.target != previous:
            table.add_section()
        failed = {} if result.done else {"top1": Text(result.status, style="red")}
        table.add_row(
            Text(result.target if result.target != previous else ""),
            *(failed.get(column.name, Text(row.cell(column))) for column in numbers),
            "*" if row.on_front else row.result.baseline,
            style="bold" if row.on_front else "dim",
        )
        previous = result.target
    return table


def front_notes(rows: Sequence[Row]) -> list[str]:
    """Return what is said below the table, one line each: star, intervals, reasons of what is on no front, doubts."""
    notes = ["* on the front of its target"]
    images = {row.result.num_test_images or 0 for row in rows if "top1" in row.result.intervals}
    if images:
        notes.append(f"top-1 on {' or '.join(str(n) for n in sorted(images))} test images, with its 95 % interval")
    notes += [_reason(row.result) for row in rows if not row.result.done]
    return notes + [f"{row.result.trial} is in doubt: {row.result.doubt}" for row in rows if row.result.doubt]


def _reason(result: TrialResult) -> str:
    verb = {"failed": "failed", "rejected": "was rejected"}[result.status]
    told = f" (top-1 {accuracy_text(result, 'top1')})" if result.top1 is not None else ""
    return f"{result.trial} {verb}{told}: {result.reason}"
