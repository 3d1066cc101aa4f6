"""`onepath data`: images to shards, their check, and a look at them. Decides nothing itself.

Why so bare: the help must answer at once, so everything heavy is imported inside the commands.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import Json
from orchestrator.cli.printing import print_json, require_png, say
from orchestrator.data.sources.named import SOURCES
from supernet.errors import RunError

if TYPE_CHECKING:
    from orchestrator.data.format import Manifest

app = typer.Typer(help="Images to Parquet shards.", no_args_is_help=True)

Folder = Annotated[str, typer.Argument(help="Folder of shards, or s3://BUCKET/FOLDER.")]
Processes = Annotated[int | None, typer.Option(min=1, help="Processes to use; by default one per core.")]
SHOWN = 20


@contextmanager
def _bar(json: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows how far each phase is, and how long it will take."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=json), transient=True) as bar:

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total)
            bar.update(tasks[phase], completed=done)

        yield show


def _tell_doubts(manifest: "Manifest") -> None:
    """Say which images were left out, which stand in more than one split, and which classes a split lacks."""
    origin = manifest.origin
    for line in origin.corrupt:
        say(f"left out: {line}")
    for split, counts in manifest.class_counts.items():
        lacking = [name for name, count in zip(manifest.class_names, counts, strict=True) if not count]
        if lacking:
            more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
            say(f"{split} has no image of {', '.join(lacking[:SHOWN])}{more}")
    if origin.num_duplicates:
        several = origin.num_duplicates > 1
        say(f"{origin.num_duplicates} {'images stand' if several else 'image stands'} in more than one split, such as:")
        for line in origin.duplicates[:SHOWN]:
            say(f"  {line}")


@app.command()
def build(
    source: Annotated[str, typer.Argument(help=f"One of {SOURCES}.")],
    out: Annotated[str, typer.Argument(help="Folder to make, or s3://BUCKET/FOLDER.")],
    validation_fraction: Annotated[
        float | None,
        typer.Option(help="Share that judges architectures, where the source brings none; by default 0.1."),
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share for the test, where the source brings none; by default 0.1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    max_corrupt: Annotated[int, typer.Option(help="Corrupt images to leave out; more are an error.")] = 0,
    processes: Processes = None,
    json: Json = False,
) -> None:
    """Convert images to Parquet shards, split into train, validation and test; or continue."""
    from orchestrator.data.build import build as make
    from orchestrator.data.format import TEST_FRACTION, VALIDATION_FRACTION
    from supernet.plain import to_plain

    with _bar(json) as progress:
        manifest = make(
            source,
            out,
            validation_fraction=VALIDATION_FRACTION if validation_fraction is None else validation_fraction,
            test_fraction=TEST_FRACTION if test_fraction is None else test_fraction,
            seed=seed,
            max_corrupt=max_corrupt,
            num_processes=processes,
            progress=progress,
        )
    if json:
        print_json(to_plain(manifest) | {"counts": manifest.counts})
        return
    counts = ", ".join(f"{split} {count}" for split, count in manifest.counts.items())
    say(f"{out}: {manifest.num_classes} classes; {counts}")
    _tell_doubts(manifest)


@app.command()
def check(folder: Folder, processes: Processes = None, json: Json = False) -> None:
    """Read every shard and compare it with the manifest; exit code 1 if anything was changed or damaged."""
    from orchestrator.data.check import MAX_FAULTS
    from orchestrator.data.check import check as run
    from orchestrator.data.storage import Storage
    from supernet.plain import to_plain

    with _bar(json) as progress:
        manifest, faults = run(Storage(folder), num_processes=processes, progress=progress)
    if json:
        origin = to_plain(manifest.origin)
        print_json({"images": manifest.counts, "fingerprint": manifest.fingerprint, "origin": origin, "faults": faults})
    if faults:
        more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        count = f"{len(faults)} faults" if len(faults) < MAX_FAULTS else f"{MAX_FAULTS} faults or more"
        raise RunError("\n  ".join([f"{folder}: {count}", *faults[:SHOWN]]) + more)
    if not json:
        say(f"{folder}: {sum(manifest.counts.values())} images in {len(manifest.shards)} shards, all as written")
        _tell_doubts(manifest)


@app.command()
def show(
    folder: Folder,
    png: Annotated[Path | None, typer.Option(help="Also draw a sheet of examples into this PNG file.")] = None,
    augment: Annotated[str, typer.Option(help="Preset of training images to draw.")] = "none",
    size: Annotated[int, typer.Option(min=4, max=512, help="Height and width to draw them at.")] = 64,
    json: Json = False,
) -> None:
    """Print how many images each class has in each split, and draw examples as training sees them."""
    from orchestrator.data.format import SPLITS, read_manifest
    from orchestrator.data.storage import Storage

    require_png(png)
    manifest = read_manifest(Storage(folder))
    if png is not None:
        from orchestrator.data.show import draw_sheet

        draw_sheet(folder, png, augment=augment, size=size)
    if json:
        print_json({"class_names": manifest.class_names, "class_counts": manifest.class_counts})
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("class", *SPLITS)
    for label, name in enumerate(manifest.class_names):
        table.add_row(escape(name), *(f"{manifest.class_counts[split][label]:,}" for split in SPLITS))
    table.add_section()
    table.add_row("all", *(f"{manifest.counts[split]:,}" for split in SPLITS))
    Console().print(table)
    if png is not None:
        say(f"examples {png}")
