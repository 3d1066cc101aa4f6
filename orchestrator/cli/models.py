"""`onepath models` and `onepath promote`: what is registered, and names for it. Chooses nothing itself."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import STORAGE, Json, RegistryAddress, Storage, open_registries
from orchestrator.cli.printing import console_for, print_json, say
from supernet.errors import InputError

if TYPE_CHECKING:
    from orchestrator.registry.choice import Registered


COLUMNS = ("top1", "validation_top1", "cost", "budget", "num_params", "file_bytes")


def models(
    sweep: Annotated[str | None, typer.Option(help="Of this sweep only.")] = None,
    target: Annotated[str | None, typer.Option(help="Of this target only.")] = None,
    max_ms: Annotated[float | None, typer.Option(help="Highest measured latency, in milliseconds.")] = None,
    min_top1: Annotated[float | None, typer.Option(help="Lowest validation top-1, 0..1.")] = None,
    storage: Storage = STORAGE,
    registry: RegistryAddress = None,
    json: Json = False,
) -> None:
    """List the registered networks of all sweeps, with their aliases."""
    from orchestrator.registry.choice import matching

    networks = [n for opened in open_registries(storage, registry) for n in opened.networks()]
    found = matching(networks, sweep=sweep, target=target, max_ms=max_ms, min_top1=min_top1)
    if json:
        print_json([network.to_plain() for network in found])
        return
    _show(found)
    say(f"{len(found)} of {len(networks)} registered networks" + ("" if found else "; none is as wished"))


def _show(networks: "list[Registered]") -> None:
    """Print networks as a table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from orchestrator.plan.result import columns
    from orchestrator.report.rows import CELLS

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    known = {column.name: column for column in columns([network.result for network in networks], wide=True)}
    shown = [known[name] for name in COLUMNS if name in known]
    for heading in ("model", "version", "aliases"):
        table.add_column(heading, overflow="fold")
    for column in shown:
        table.add_column(column.metadata["column"], justify="right", no_wrap=True)
    for network in networks:
        aliases = ", ".join(network.aliases) or ("-" if network.result.done else "rejected")
        named = (network.model, str(network.version), aliases)
        cells = [CELLS[column.metadata["reads"]](network.result, column.name) for column in shown]
        table.add_row(*(Text(cell) for cell in (*named, *cells)))
    console_for(table).print(table)


def promote(
    model: Annotated[str, typer.Argument(help="Registered model, as `onepath models` lists it.")],
    version: Annotated[int, typer.Argument(help="Number of the version.")],
    alias: Annotated[str, typer.Argument(help="Alias to set.")] = "champion",
    storage: Storage = STORAGE,
    registry: RegistryAddress = None,
    json: Json = False,
) -> None:
    """Let an alias of a registered model name one version, and say which one it named before."""
    opened = open_registries(storage, registry)
    holders = [r for r in opened if model in {network.model for network in r.networks()}]
    if len(holders) > 1:
        raise InputError(f"{model} is in several registries: {', '.join(r.address for r in holders)}; --registry")
    now, before = (holders or opened)[0].promote(model, version, alias)
    if json:
        print_json({"alias": alias, "now": now.to_plain(), "before": None if before is None else before.to_plain()})
        return
    say(f"models:/{model}@{alias} is version {version} now: {_told(now)}")
    if before is None:
        say("it replaces none")
    elif before.version == version:
        say("it was so before")
    else:
        say(f"it replaces version {before.version}: {_told(before)}")


def _told(network: "Registered") -> str:
    from orchestrator.report.rows import accuracy_text, cost_text

    result = network.result
    return f"top-1 {accuracy_text(result, 'top1')}, {cost_text(result.cost, result.unit)} on {result.target}"
