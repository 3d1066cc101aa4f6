"""How commands print: lines, tables, JSON, progress, pictures. Knows no command; imports nothing heavy at the top."""

import json as jsonlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supernet.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from latency.checks.verdict import Report
    from latency.measuring.job import Progress
    from latency.tables.table import LatencyTable
    from supernet.cost import CostTable


def print_report(report: "Report") -> None:
    """Print a verification."""
    rows: list[tuple[str, ...]] = []
    for kind, predictors in report.accuracies.items():
        for name, found in predictors.items():
            rows.append(
                (
                    f"{kind} ({found.num_networks})",
                    name.replace("_", " "),
                    f"{found.within_5:.0%}",
                    f"{found.within_10:.0%}",
                    f"{found.mape:.1%}",
                    f"{found.bias:+.1%}",
                    f"{found.rmse_ms:.3g}",
                    f"{found.worst:.1%}",
                    f"{found.tau:.3f}",
                    f"{found.tau_told:.3f}",
                )
            )
    print_table(
        f"{report.space} on {report.target}: {report.verdict}",
        ("networks", "predictor", "within 5 %", "10 %", "mean error", "bias", "RMSE ms", "worst", "tau", "told apart"),
        rows,
        f"the machine moved by {report.drift - 1:+.1%} since the table was measured (its calibration networks, taken "
        f"again); `table` and `macs` are fitted to this run; it repeats to {report.repeat_median:.1%} (median), "
        f"{report.in_bar:.0%} of networks within the table's error bar, {report.clean_share:.0%} of calls undisturbed, "
        f"{report.seconds:.0f} s",
    )
    for reason in report.reasons:
        print(f"  {reason}")


def table_summary(table: "LatencyTable", costs: "CostTable") -> dict[str, Any]:
    """Return what is worth knowing of a table as plain data."""
    return {
        "space": table.space.name,
        "target": table.target.name,
        "num_rows": len(table.rows),
        "min_ms": costs.minimum,
        "max_ms": costs.maximum,
        "calibration": asdict(table.calibration),
        "sentinels_ms": dict(table.sentinels),
        "fingerprint": dict(table.fingerprint),
        **table.info,
    }


def print_json(content: Any) -> None:
    """Print JSON for scripts; a figure that is infinite or none at all is null, for JSON has no such numbers."""
    print(jsonlib.dumps(_finite(content), indent=1, allow_nan=False))


def _finite(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _finite(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_finite(value) for value in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def require_png(png: Path | None) -> None:
    """Refuse a picture that could not be written, before anything is done for it.

    Raises:
        InputError: If its name ends in something else, or its folder is not there.
    """
    if png is None:
        return
    if png.suffix.lower() != ".png":
        raise InputError(f"--png {png}: a picture is written as PNG; end the name in .png")
    if not png.absolute().parent.is_dir():
        raise InputError(f"--png {png}: there is no folder {png.parent}")


def say(text: str) -> None:
    """Print a line as it stands, however narrow the terminal."""
    from rich.console import Console

    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def console_for(table: "Table") -> "Console":
    """Return a console as wide as a table: a narrow terminal wraps its lines, and nothing is cut."""
    from rich.console import Console

    console = Console()
    console.width = max(console.width, Console(width=1000).measure(table).maximum)
    return console


def print_table(
    title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], caption: str = "", *, left: int = 1
) -> None:
    """Print a table: the first columns to the left, the others to the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = console_for(table)
    console.print(title, soft_wrap=True)
    console.print(table)
    if caption:
        console.print(caption, soft_wrap=True)


@contextmanager
def progress_bar() -> "Iterator[Progress]":
    """Show what is being done, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda text, share: bar.update(task, description=text, completed=share)
