"""`onepath pull`: a registered network into a folder. Chooses nothing itself; imports heavy things inside."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import STORAGE, Json, Storage, SweepName, stored_job
from orchestrator.cli.printing import print_json, say
from supernet.errors import InputError


def pull(
    name: SweepName,
    target: Annotated[str, typer.Option(help="Name of the target.")],
    max_ms: Annotated[float | None, typer.Option(help="Highest measured latency, in milliseconds.")] = None,
    max_count: Annotated[float | None, typer.Option(help="Highest count, where the target counts.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; by default NAME-TARGET.")] = None,
    storage: Storage = STORAGE,
    json: Json = False,
) -> None:
    """Fetch the most accurate registered network within a limit: torch export, ONNX, weights, architecture."""
    from orchestrator.registry.queue import open_registry
    from orchestrator.report.rows import cost_text

    job = stored_job(name, storage)
    limit = limit_of(target, job.target(target).unit, max_ms, max_count)
    folder = out or Path(f"{name}-{target}")
    numbers = open_registry(job, create=False).pull(name, target, limit, folder)
    if json:
        print_json({**numbers, "folder": str(folder)})
        return
    say(
        f"{numbers['model_uri']}: top-1 {numbers['top1']:.1%}, {cost_text(numbers['cost'], numbers['unit'])} on "
        f"{target}, {numbers['num_params']:,} parameters"
    )
    say(numbers["architecture"])
    say(f"in {folder}: {', '.join(numbers['files'])}")
    say(f"load it: torch.export.load('{folder}/model.pt2').module()")


def limit_of(target: str, unit: str, max_ms: float | None, max_count: float | None) -> float:
    """Return the one limit that fits a target's unit.

    Raises:
        InputError: If it is missing, or the other one is given.
    """
    options = {"ms": ("--max-ms", max_ms), "1": ("--max-count", max_count)}
    name, limit = options.pop(unit)
    ((other, unfit),) = options.values()
    if unfit is not None or limit is None:
        raise InputError(f"target {target} {'has a latency' if unit == 'ms' else 'counts'}: give {name}, not {other}")
    return limit
