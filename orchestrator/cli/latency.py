"""`onepath latency`: targets, tables, measuring and comparing from the shell. Prints; decides nothing.

Heavy imports stand inside the commands, so that help answers at once. Exit codes as everywhere (0, 1, 2), and
`verify` adds 3: the machine is too noisy to tell.
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.options import Json, Trust
from orchestrator.cli.printing import (
    print_json,
    print_report,
    print_table,
    progress_bar,
    require_png,
    table_summary,
)

app = typer.Typer(help="Targets, latency tables, measuring.", no_args_is_help=True)

SpaceName = Annotated[str, typer.Option("--space", help="Name of a search space, or a .yaml file.")]
TargetName = Annotated[str, typer.Option("--target", help="Name of a target, or a .yaml file.")]


def tables_folder() -> Path:
    """Return where sweeps on the storage of this shell keep their tables; an object store's cannot be written here."""
    storage = os.environ.get("ONEPATH_STORAGE", "")
    return Path("onepath-runs" if not storage or "://" in storage else storage) / "tables"


Folder = Annotated[
    Path,
    typer.Option(
        default_factory=tables_folder,
        envvar="ONEPATH_TABLES",
        show_default="where sweeps keep them: onepath-runs/tables, or `tables` in $ONEPATH_STORAGE",
        help="Where latency tables are kept.",
    ),
]

EXIT_FALLS_SHORT, EXIT_TOO_NOISY = 1, 3


@app.command()
def targets(json: Json = False) -> None:
    """List the packaged targets, and which of them this machine can run."""
    from latency.tables.describe import list_targets

    found = list_targets()
    if json:
        print_json(found)
        return
    print_table(
        "Targets",
        ("target", "runtime", "device", "precision", "threads", "batch", "here"),
        [
            (
                *(str(target[key]) for key in ("name", "runtime", "device", "precision", "threads", "batch")),
                "yes" if target["runs_here"] else "no",
            )
            for target in found
        ],
    )
    for reason in dict.fromkeys(target["reason"] for target in found if not target["runs_here"]):
        names = ", ".join(target["name"] for target in found if target["reason"] == reason)
        print(f"not here: {names}: {reason}")


@app.command()
def build(
    space: SpaceName,
    target: TargetName,
    folder: Folder,
    seconds: Annotated[
        float | None,
        typer.Option(help="Measuring time wanted, beside preparing models; by default 5 to 60, by the space's size."),
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Measure anew even if a valid table is there.")] = False,
    json: Json = False,
) -> None:
    """Measure the latency table of a space on a target. A valid one is kept; an interrupted build goes on."""
    from latency.tables.build import build_table
    from latency.tables.describe import uncertainty
    from latency.tables.file import table_path
    from latency.target import load_target
    from supernet.presets import load_space

    the_space, the_target = load_space(space), load_target(target)
    file = table_path(folder, the_space, the_target)
    with progress_bar() as progress:
        table = build_table(the_space, the_target, folder, seconds=seconds, rebuild=rebuild, progress=progress)
    costs = table.cost_table()
    if json:
        print_json({"file": str(file), **table_summary(table, costs)})
        return
    print(f"{file}: networks from {costs.minimum:.4g} to {costs.maximum:.4g} ms; {uncertainty(table)}")


@app.command()
def show(
    space: SpaceName,
    target: TargetName,
    folder: Folder,
    png: Annotated[Path | None, typer.Option(help="Also draw the costs as a heat map into this PNG file.")] = None,
    json: Json = False,
) -> None:
    """Print what every candidate costs at every position: measured, published or counted."""
    from latency.tables.describe import uncertainty
    from latency.tables.estimate import cost_table, latency_table
    from latency.target import load_target
    from supernet.presets import load_space

    require_png(png)
    the_space, the_target = load_space(space), load_target(target)
    costs = cost_table(the_space, the_target, folder)
    if png is not None:
        from latency.checks.plots import heat_map

        heat_map(the_space, costs, png)
    if json:
        positions = [
            {"layer": p.name, "costs": {op.short: cost for op, cost in zip(p.candidates, row, strict=True)}}
            for p, row in zip(the_space.positions, costs.candidates, strict=True)
        ]
        record: dict[str, Any] = {"unit": costs.unit, "fixed": costs.fixed, "positions": positions}
        if the_target.measured:
            table = latency_table(the_space, the_target, folder)
            record |= {**table_summary(table, costs), "rows": [asdict(row) for row in table.rows]}
        print_json(record)
        return
    names = list(dict.fromkeys(op.short for p in the_space.positions for op in p.candidates))
    rows = []
    for position, values in zip(the_space.positions, costs.candidates, strict=True):
        cells = [costs.told(cost).removesuffix(f" {costs.unit}") for cost in values]
        known = dict(zip((op.short for op in position.candidates), cells, strict=True))
        rows.append((position.name, *(known.get(name, "") for name in names)))
    known_to = f"\n{uncertainty(latency_table(the_space, the_target, folder))}" if the_target.measured else ""
    span = f"networks from {costs.told(costs.minimum)} to {costs.told(costs.maximum)}"
    print_table(
        f"{the_space.name} on {the_target.name}, {'counts' if costs.unit == '1' else costs.unit}",
        ("position", *names),
        rows,
        f"fixed layers {costs.told(costs.fixed)}; {span}{known_to}",
    )


@app.command()
def expected(
    space: SpaceName,
    target: TargetName,
    folder: Folder,
    arch: Annotated[str | None, typer.Option(help="Published name, architecture JSON file, or compact id.")] = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Print the range of a space on a target, and what one architecture costs."""
    from latency.tables.describe import expected_costs
    from latency.target import load_target
    from supernet.presets import load_network, load_space

    network = load_network(arch, trust=trust) if arch else None
    found = expected_costs(load_space(space), load_target(target), folder, network)
    if json:
        print_json(found)
        return
    for key, value in found.items():
        print(f"{key:24} {value:.6g}" if isinstance(value, float) else f"{key:24} {value}")


@app.command()
def measure(
    model: Annotated[str, typer.Argument(help="ONNX or .pt2 file, published name, architecture file, compact id.")],
    target: TargetName,
    seconds: Annotated[float, typer.Option(help="Measuring time wanted.")] = 3.0,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Measure one network or model file on a target, in a process of its own.

    A model file runs no code of its maker (torch exports are looked into first); a target file with a `command` runs
    that program, on this machine and as you.
    """
    from latency.measuring.measure import measure_file, measure_network
    from latency.target import load_target
    from supernet.presets import load_network

    the_target = load_target(target)
    with progress_bar() as progress:
        if model.endswith((".onnx", ".pt2")):
            found = measure_file(model, the_target, seconds=seconds, progress=progress)
        else:
            found = measure_network(*load_network(model, trust=trust), the_target, seconds=seconds, progress=progress)
    if json:
        print_json(asdict(found))
    else:
        parity = "" if found.parity is None else f"; outputs differ from fp32 by {found.parity:.2g}"
        spread = "" if found.error_ms is None else f" +- {found.error_ms:.2g}"
        print(
            f"{found.latency_ms:.4g} ms{spread} (typical now: {found.median_ms:.4g} ms, "
            f"{found.num_samples} calls){parity}"
        )
        if found.noise:
            print(f"not to be trusted: {found.noise}")
    if found.noise:
        raise typer.Exit(EXIT_FALLS_SHORT)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Target.")],
    second: Annotated[str, typer.Argument(help="Another target.")],
    space: SpaceName,
    folder: Folder,
    json: Json = False,
) -> None:
    """Print what two targets disagree about: cost ratios per stage, and candidates ranked differently."""
    from latency.checks.compare import compare_targets
    from latency.target import load_target
    from supernet.presets import load_space

    found = compare_targets(load_space(space), load_target(first), load_target(second), folder)
    if json:
        print_json(asdict(found))
        return
    names = list(next(iter(found.ratios_first.values()), {}))
    rows = [
        (stage, *(f"{found.ratios_first[stage][n]:.2f} / {found.ratios_second[stage][n]:.2f}" for n in names))
        for stage in found.ratios_first
    ]
    print_table(
        f"Cost ratios on {found.first} / {found.second}",
        ("stage", *names),
        rows,
        f"Kendall tau over random networks: {found.tau:.3f}; pairs of candidates ranked differently, by more than "
        f"twice the errors of the rows: {len(found.inversions)}",
    )
    for pair in found.inversions[:12]:
        a, b = pair.faster_first, pair.faster_second
        print(
            f"  {pair.layer}: {a} {pair.first[0]:.4g} < {b} {pair.first[1]:.4g} on {found.first}, "
            f"{a} {pair.second[0]:.4g} > {b} {pair.second[1]:.4g} on {found.second}"
        )
    if len(found.inversions) > 12:
        print(f"  and {len(found.inversions) - 12} more: --json lists them all")


@app.command()
def verify(
    space: SpaceName,
    target: TargetName,
    folder: Folder,
    num_random: Annotated[int, typer.Option("--random", min=2, max=1000, help="Random networks to draw.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    seconds: Annotated[
        float | None,
        typer.Option(help="Measuring time wanted, beside preparing models; by default 60, of a table as `build`."),
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Also draw predicted against measured into this PNG file.")] = None,
    under_load: Annotated[
        bool, typer.Option("--under-load", help="Instead: build a table twice, once beside a busy process on its core.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure fresh networks and compare them with the table. Exit code 0 holds, 1 falls short, 3 too noisy."""
    from latency.target import load_target
    from supernet.presets import load_space

    require_png(png)
    the_space, the_target = load_space(space), load_target(target)
    if under_load:
        from latency.checks.under_load import verify_under_load

        with progress_bar() as progress:
            load_report = verify_under_load(the_space, the_target, seconds=seconds, progress=progress)
        print_json(asdict(load_report)) if json else print(load_report.text())
        raise typer.Exit(_exit_code(load_report.verdict))
    from latency.checks.verify import SECONDS
    from latency.checks.verify import verify as verify_table
    from latency.tables.file import load_table

    table = load_table(folder, the_space, the_target)
    with progress_bar() as progress:
        report = verify_table(
            table, num_random=num_random, seed=seed, seconds=SECONDS if seconds is None else seconds, progress=progress
        )
    if png is not None:
        from latency.checks.plots import predicted_against_measured

        predicted_against_measured(report, png)
    print_json(asdict(report)) if json else print_report(report)
    raise typer.Exit(_exit_code(report.verdict))


def _exit_code(verdict: str) -> int:
    return {"holds": 0, "falls short": EXIT_FALLS_SHORT, "too noisy": EXIT_TOO_NOISY}[str(verdict)]
