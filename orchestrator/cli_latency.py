"""`onepath latency`: targets, tables, measuring and comparing from the shell. Texts and JSON only, no logic.

Heavy imports stand inside the commands, so that help answers at once.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from latency.job import Progress

app = typer.Typer(help="Targets, latency tables, measuring.", no_args_is_help=True)

SpaceOption = Annotated[str, typer.Option("--space", help="Name of a search space, or a .yaml file.")]
TargetOption = Annotated[str, typer.Option("--target", help="Name of a target, or a .yaml file.")]
FolderOption = Annotated[Path, typer.Option("--folder", help="Where latency tables are kept.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

DEFAULT_FOLDER = Path("latency-tables")


@app.command()
def build(
    space: SpaceOption,
    target: TargetOption,
    folder: FolderOption = DEFAULT_FOLDER,
    seconds: Annotated[float | None, typer.Option(help="Measuring time wanted, beside preparing models.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the latency table of a space on a target; a valid one is kept."""
    from latency.profile_space import build_table
    from latency.table import table_path
    from latency.target import load_target
    from supernet.presets import load_space

    the_space, the_target = load_space(space), load_target(target)
    with _progress(as_json) as progress:
        table = build_table(the_space, the_target, folder, seconds=seconds, progress=progress)
    costs = table.cost_table()
    summary = {
        "file": str(table_path(folder, the_space, the_target)),
        "space": the_space.name,
        "target": the_target.name,
        "rows": len(table.rows),
        "scale": table.calibration.scale,
        "offset_ms": table.calibration.offset_ms,
        "left_out_error": table.calibration.rms,
        "min_ms": costs.minimum,
        "max_ms": costs.maximum,
        **table.info,
    }
    _print(
        summary,
        as_json,
        f"{summary['file']}: networks from {costs.minimum:.4g} to {costs.maximum:.4g} ms, "
        f"predicted to {2 * table.calibration.rms:.1%}",
    )


def _print(content: Any, as_json: bool, text: str) -> None:
    print(json.dumps(content, indent=1) if as_json else text)


@contextmanager
def _progress(quiet: bool) -> "Iterator[Progress]":
    """Show what is being done on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda text, share: bar.update(task, description=text, completed=share)
