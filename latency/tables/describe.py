"""Plain data about targets, tables and costs, as commands and scripts want it. Measures nothing.

Why here: the command line only prints.
"""

from pathlib import Path as FilePath
from typing import Any

from latency.measuring.job import why_not
from latency.tables.estimate import cost_table, latency_table, predict
from latency.tables.fingerprint import space_hash
from latency.tables.table import LatencyTable
from latency.target import COUNTED, PUBLISHED, Target, load_target, target_names
from supernet.errors import InputError
from supernet.space import Architecture, Space


def list_targets() -> list[dict[str, Any]]:
    """Return every packaged target, and whether this machine can run it."""
    found = []
    for name in target_names():
        target = load_target(name)
        reason = why_not(target) if target.measured else ""
        found.append({**target.to_dict(), "runs_here": not reason, "reason": reason})
    return found


def uncertainty(table: LatencyTable) -> str:
    """Say in words how well a measured table is known: its rows, and the networks made of them."""
    return (
        f"the errors of its rows add up to at most {table.info['row_noise']:.1%} of a network; whole networks left out "
        f"of the fit were predicted to {table.calibration.rms:.1%}"
    )


def expected_costs(
    space: Space,
    target: Target,
    folder: FilePath | str,
    network: tuple[Space, Architecture] | None = None,
) -> dict[str, Any]:
    """Return the range of a space on a target, and the cost of one architecture.

    Args:
        space: Its range is returned.
        target: Of any kind.
        folder: Where latency tables are kept.
        network: An architecture with its own space: another space is allowed where the target's costs are counted
            or published, because these are found by shape.

    Returns:
        `unit`, and with the suffix `_ms` for latencies: `uniform` (expected cost of uniformly drawn candidates),
        `min`, `min_without_skips`, `max`, and with a network `architecture` and `architecture_bar`, the half-width
        of its error bar.

    Raises:
        InputError: If a table is not there, lacks entries, or the architecture is of another space.
    """
    costs = cost_table(space, target, folder)
    suffix = "_ms" if costs.unit == "ms" else ""
    kept = [
        [cost for op, cost in zip(position.candidates, row, strict=True) if op.name != "zero"]
        for position, row in zip(space.positions, costs.candidates, strict=True)
    ]
    found: dict[str, Any] = {
        "space": space.name,
        "target": target.name,
        "unit": costs.unit,
        f"uniform{suffix}": costs.fixed + sum(sum(row) / len(row) for row in costs.candidates),
        f"min{suffix}": costs.minimum,
        f"min_without_skips{suffix}": costs.fixed + sum(map(min, kept)),
        f"max{suffix}": costs.maximum,
    }
    if network is not None:
        cost, error = architecture_cost(space, target, folder, network)
        found |= {
            "architecture": network[1].id,
            f"architecture{suffix}": cost,
            f"architecture_bar{suffix}": error,
        }
    return found


def architecture_cost(
    space: Space, target: Target, folder: FilePath | str, network: tuple[Space, Architecture]
) -> tuple[float, float]:
    """Return the cost of an architecture and the half-width of its error bar (0 for counts).

    Raises:
        InputError: If it is of another space and the target's table was measured for this one.
    """
    own_space, architecture = network
    if target.runtime in COUNTED:
        return cost_table(own_space, target, folder).total(own_space.path(architecture)), 0.0
    if target.runtime == PUBLISHED:
        return predict(latency_table(own_space, target, folder), architecture)
    if space_hash(own_space) != space_hash(space):
        raise InputError(
            f"architecture {architecture.id}: it belongs to the space {own_space.name!r}, the table on {target.name} "
            f"to {space.name!r}; give --space {own_space.name}, or one of that space's architectures"
        )
    return predict(latency_table(space, target, folder), Architecture(space.name, architecture.stages))
