"""`onepath arch`: shows architectures, published or found, as a table, as JSON or as a drawing.

Why apart from `cli`: it needs the supernet room only, no cluster and no registry. Imports nothing heavy at the top.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.options import Json, Trust
from orchestrator.cli.printing import print_json, print_table, require_png

app = typer.Typer(help="Architectures: published networks, JSON files, compact ids.", no_args_is_help=True)


@app.command()
def show(
    network: Annotated[str, typer.Argument(help="Published name, architecture JSON file, or compact id.")],
    json: Json = False,
    png: Annotated[Path | None, typer.Option(help="Also draw the network into this PNG file.")] = None,
    trust: Trust = False,
) -> None:
    """Print the blocks of a network with shapes, parameters and MACs."""
    from supernet.presets import load_network

    space, architecture = load_network(network, trust=trust)
    require_png(png)
    if png is not None:
        from orchestrator.report.architecture import draw_network

        draw_network(space, architecture, png)
    described = describe(network, space, architecture)
    if json:
        print_json(described)
    else:
        _print_table(described)


@app.command("list")
def list_networks(json: Json = False) -> None:
    """List the published networks and the packaged search spaces."""
    from supernet.presets import load_network, load_space, preset_names

    networks = [describe(name, *load_network(name)) for name in preset_names("networks")]
    spaces = [space for name in preset_names("spaces") if (space := load_space(name)).positions]
    if json:
        keys = ("name", "id", "input_size", "num_params", "num_macs")
        record = {
            "networks": [{key: network[key] for key in keys} for network in networks],
            "spaces": [
                {
                    "name": space.name,
                    "input_size": list(space.input_size),
                    "num_positions": len(space.positions),
                    "num_architectures": space.num_architectures,
                }
                for space in spaces
            ],
        }
        print_json(record)
        return
    print_table(
        "Published networks (onepath arch show NAME)",
        ("name", "input", "params", "MACs"),
        [(n["name"], _shape(n["input_size"]), f"{n['num_params']:,}", f"{n['num_macs']:,}") for n in networks],
    )
    print_table(
        "Search spaces",
        ("name", "input", "positions", "architectures"),
        [(s.name, _shape(s.input_size), str(len(s.positions)), f"{s.num_architectures:.3g}") for s in spaces],
    )


def describe(name: str, space: Any, architecture: Any) -> dict[str, Any]:
    """Return what `show --json` prints: identity, exact totals and the blocks that remain."""
    from supernet.cost import block_costs, count_cost

    blocks = []
    for block in block_costs(space, architecture):
        plain = {**asdict(block), "op": block.op.name, "short": block.op.short, **dict(block.op.args)}
        blocks.append(plain)
    return {
        "name": name,
        "id": architecture.id,
        "space": space.name,
        "input_size": list(space.input_size),
        "num_classes": space.num_classes,
        **count_cost(space, architecture),
        "blocks": blocks,
    }


def _print_table(described: dict[str, Any]) -> None:
    rows = [
        (
            block["name"],
            block["short"] + (" +" if block["residual"] else ""),
            _shape(block["out_shape"]),
            str(block["stride"]),
            f"{block['num_params']:,}",
            f"{block['num_macs']:,}",
        )
        for block in described["blocks"]
    ]
    params, macs, size = (described[key] for key in ("num_params", "num_macs", "input_size"))
    totals = f"{params:,} parameters, {macs:,} MACs at {_shape(size)} (+ marks a shortcut)"
    print_table(described["id"], ("layer", "op", "out", "stride", "params", "MACs"), rows, totals, left=3)


def _shape(shape: Any) -> str:
    return "x".join(str(size) for size in shape)
