"""`onepath pull`: a registered network into a folder. Chooses nothing itself; imports heavy things inside."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import STORAGE, Json, RegistryAddress, Storage, SweepName, open_registry_of
from orchestrator.cli.printing import print_json, say
from supernet.errors import InputError


def pull(
    name: SweepName,
    target: Annotated[str, typer.Option(help="Name of the target.")],
    max_ms: Annotated[float | None, typer.Option(help="The best in validation within so many milliseconds.")] = None,
    max_count: Annotated[float | None, typer.Option(help="The same, where the target counts.")] = None,
    min_top1: Annotated[float | None, typer.Option(help="The fastest with such a validation top-1, 0..1.")] = None,
    alias: Annotated[str | None, typer.Option(help="The one of this alias, such as best, knee or fastest.")] = None,
    version: Annotated[int | None, typer.Option(help="The one of this number.")] = None,
    format: Annotated[str, typer.Option(help="onnx, pt2, or module (weights to train on); by default all.")] = "",
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Also model-pixels.onnx: 8-bit pixels of the input size in.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; by default NAME-TARGET.")] = None,
    storage: Storage = STORAGE,
    registry: RegistryAddress = None,
    json: Json = False,
) -> None:
    """Fetch one registered network of a target: by a limit, a lowest accuracy, an alias or a version."""
    from orchestrator.report.rows import cost_text, count_text

    if pixels and format not in ("", "onnx"):
        raise InputError(f"--pixels: it is made of model.onnx, which --format {format} leaves out; drop one of both")
    folder = out or Path(f"{name}-{target}")
    numbers = open_registry_of(name, storage, registry).pull(
        name,
        target,
        folder,
        max_ms=max_ms,
        max_count=max_count,
        min_top1=min_top1,
        alias=alias,
        version=version,
        format=format,
    )
    if pixels:
        numbers["files"] = [*numbers["files"], _add_pixels(folder, numbers["files"])]
    if json:
        print_json({**numbers, "folder": str(folder)})
        return
    named = f" ({', '.join(numbers['aliases'])})" if numbers["aliases"] else ""
    say(
        f"{numbers['model_uri']}{named}: top-1 {numbers['top1']:.1%}, {cost_text(numbers['cost'], numbers['unit'])} on "
        f"{target}, {count_text(numbers['num_params'])} parameters"
    )
    say(numbers["architecture"] or "specialised elsewhere")
    say(f"in {folder}: {', '.join(numbers['files'])}")
    if numbers["file"] and numbers["file"] not in numbers["files"]:
        say(f"these numbers are of {numbers['file']}, which is not among them")
    if "model.pt2" in numbers["files"]:
        say(f"load it: torch.export.load('{folder}/model.pt2').module()")


def _add_pixels(folder: Path, files: list[str]) -> str:
    """Write the ONNX file with its preprocessing inside, and return its name."""
    from json import loads

    from latency.graphs.export import with_pixels
    from orchestrator.registry.model import PIXELS_FILE
    from orchestrator.registry.pulled import add

    if "model.onnx" not in files:
        raise InputError("--pixels: it is made of model.onnx, which this network was registered without")
    about = loads((folder / "preprocessing.json").read_text())
    add(folder, PIXELS_FILE, with_pixels((folder / "model.onnx").read_bytes(), about["mean"], about["std"]))
    return PIXELS_FILE
