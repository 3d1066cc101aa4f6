"""`onepath register`: a network that was specialised elsewhere into the registry. Decides nothing itself.

Why so bare: the help must answer at once, so everything heavy is imported inside the command.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import STORAGE, Json, RegistryAddress, Storage, Trust
from orchestrator.cli.printing import print_json, progress_bar, say
from supernet.errors import InputError


def register(
    file: Annotated[Path, typer.Argument(help="ONNX file, torch export (.pt2), or architecture (.json).")],
    name: Annotated[str, typer.Option(help="What to register it under: a sweep's name, or one of its own.")],
    target: Annotated[str, typer.Option(help="Name of the target, or its YAML file; this machine must have it.")],
    data: Annotated[str, typer.Option(help="Prepared images (`onepath data build`) that judge it.")],
    weights: Annotated[Path | None, typer.Option(help="Safetensors of an architecture.")] = None,
    key: Annotated[str | None, typer.Option(help="Its own name under that one; by default TARGET-FILE.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="It takes the middle of an image, as on ImageNet.")] = False,
    mean: Annotated[str | None, typer.Option(help="Of each channel, in 0..1, such as 0.485,0.456,0.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Of each channel; both by default the data set's own.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Measuring time.")] = 10.0,
    storage: Storage = STORAGE,
    registry: RegistryAddress = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Judge a finished network's file on images, measure it on its target, and register it as a sweep's are."""
    from dataclasses import replace
    from functools import partial

    from latency.measuring.machine import versions
    from latency.measuring.measure import measure_file
    from latency.target import load_target
    from orchestrator.given import Given, judge_and_measure, registry_for, require_free
    from orchestrator.plan.result import told
    from orchestrator.report.rows import cost_text
    from supernet.plain import check_name

    the_target = load_target(target)
    key = check_name(key or f"{the_target.name}-{file.stem}", "key")
    if (mean is None) != (std is None):
        raise InputError("--mean and --std belong together")
    normalisation = (_numbers(mean, "--mean"), _numbers(std, "--std")) if mean and std else None
    given = Given(file, the_target, data, weights, crop, normalisation, trust)
    opened, config = registry_for(check_name(name, "name"), key, storage, registry)
    require_free(opened, name, key)
    with tempfile.TemporaryDirectory(prefix="onepath-register-") as folder, progress_bar() as progress:
        measure = partial(measure_file, seconds=seconds, progress=progress)
        result, files = judge_and_measure(given, Path(folder), sweep=name, trial=key, measure=measure)
        opened.open_sweep(name, config, running=False, targets=[the_target.name])
        result = replace(result, model_uri=opened.register(result, files, versions(the_target.traits.needs)))
        opened.set_aliases(name)
    if json:
        print_json(told(result))
        return
    assert result.cost is not None
    say(f"{result.model_uri}: top-1 {result.top1:.1%}, {cost_text(result.cost, result.unit)} on {result.target}")
    if result.doubt:
        say(f"in doubt: {result.doubt}")


def _numbers(text: str, option: str) -> tuple[float, ...]:
    """Return the numbers of a list with commas.

    Raises:
        InputError: If it holds something else.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} {text!r}: give a number for each channel, with commas between them") from error
