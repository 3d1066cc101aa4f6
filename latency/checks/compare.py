"""What two targets disagree about: cost ratios per stage, and candidates that they rank differently.

For measured, published and counted targets alike: it works on plain costs.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

from latency.checks.accuracy import kendall_tau
from latency.checks.probe_networks import uniform_path
from latency.tables.estimate import cost_table
from latency.tables.file import stored_table
from latency.tables.table import LatencyTable
from latency.target import Target
from supernet.cost import CostTable
from supernet.space import Space

RATIOS: tuple[tuple[str, str, int, int], ...] = (
    ("k5/k3", "kernel_size", 5, 3),
    ("k7/k3", "kernel_size", 7, 3),
    ("e6/e3", "expand_ratio", 6, 3),
)
"""(name, argument, dividend, divisor)."""

NUM_NETWORKS = 400
"""Random networks that a rank correlation is of."""


@dataclass(frozen=True)
class Inversion:
    """Two candidates of a position in one order on the first target and in the other on the second.

    Attributes:
        layer: Name of the position.
        faster_first: Short name of the candidate that the first target prefers.
        faster_second: The one that the second prefers.
        first: Their costs on the first target, in this order.
        second: Their costs on the second.
    """

    layer: str
    faster_first: str
    faster_second: str
    first: tuple[float, float]
    second: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Two targets on one space.

    Attributes:
        ratios_first: Cost ratios per stage on the first target (see `stage_ratios`).
        ratios_second: The same on the second.
        tau: Kendall's rank correlation of random networks' costs.
        inversions: Candidates ranked differently, by more than twice the errors of the rows; the clearest first.
    """

    space: str
    first: str
    second: str
    ratios_first: Mapping[str, Mapping[str, float]]
    ratios_second: Mapping[str, Mapping[str, float]]
    tau: float
    inversions: tuple[Inversion, ...]


def compare_targets(space: Space, first: Target, second: Target, folder: FilePath | str) -> Comparison:
    """Compare two targets of any kind by the tables that are kept of them, wherever these were measured.

    Raises:
        InputError: If a table is not there or lacks entries.
    """
    sides = [_costs_and_margins(space, target, folder) for target in (first, second)]
    (costs_first, margins_first), (costs_second, margins_second) = sides
    return Comparison(
        space=space.name,
        first=first.name,
        second=second.name,
        ratios_first=stage_ratios(space, costs_first),
        ratios_second=stage_ratios(space, costs_second),
        tau=rank_agreement(space, costs_first, costs_second),
        inversions=tuple(inversions(space, costs_first, costs_second, margins_first, margins_second)),
    )


def _costs_and_margins(space: Space, target: Target, folder: FilePath | str) -> tuple[CostTable, list[float]]:
    if not target.measured:
        return cost_table(space, target, folder), [0.0] * len(space.positions)
    table = stored_table(folder, space, target)
    return table.cost_table(), row_margins(table)


def stage_ratios(space: Space, costs: CostTable) -> dict[str, dict[str, float]]:
    """Return cost ratios per stage: the sum over its positions with one value of an argument, over that with another.

    Returns:
        Per stage (row of the space with a choice) the ratios of `RATIOS` whose values its candidates have.
    """
    found: dict[str, dict[str, float]] = {}
    for index in dict.fromkeys(position.row for position in space.positions):
        pairs = [(p, c) for p, c in zip(space.positions, costs.candidates, strict=True) if p.row == index]
        ratios = {}
        for name, argument, dividend, divisor in RATIOS:
            above, below = (
                sum(
                    c
                    for p, row in pairs
                    for op, c in zip(p.candidates, row, strict=True)
                    if dict(op.args).get(argument) == value
                )
                for value in (dividend, divisor)
            )
            if above and below:
                ratios[name] = above / below
        found[space.rows[index].name] = ratios
    return found


def rank_agreement(space: Space, first: CostTable, second: CostTable) -> float:
    """Return Kendall's tau between the costs of random networks on two targets."""
    rng = random.Random(0)
    paths = [uniform_path(space, rng) for _ in range(NUM_NETWORKS)]
    return kendall_tau([first.total(path) for path in paths], [second.total(path) for path in paths])


def inversions(
    space: Space, first: CostTable, second: CostTable, margins_first: Sequence[float], margins_second: Sequence[float]
) -> list[Inversion]:
    """Return the pairs of candidates that two targets rank differently, the clearest first.

    Args:
        space: Of both.
        first: Costs on the first target.
        second: Costs on the second.
        margins_first: Per position, the difference below which two costs of the first target count as equal.
        margins_second: The same for the second.
    """
    found: list[tuple[float, Inversion]] = []
    sides = zip(space.positions, first.candidates, second.candidates, margins_first, margins_second, strict=True)
    for position, a, b, margin_a, margin_b in sides:
        for i, j in _pairs(len(a)):
            if a[i] + margin_a < a[j] and b[j] + margin_b < b[i]:
                names = position.candidates[i].short, position.candidates[j].short
                clear = min(a[j] / max(a[i], 1e-12), b[i] / max(b[j], 1e-12))
                found.append((clear, Inversion(position.name, *names, (a[i], a[j]), (b[i], b[j]))))
    return [inversion for _, inversion in sorted(found, key=lambda pair: -pair[0])]


def row_margins(table: LatencyTable) -> list[float]:
    """Return, per position, twice the largest standard error of its rows, calibrated."""
    errors: dict[str, float] = {}
    for row in table.rows:
        errors[row.layer] = max(errors.get(row.layer, 0.0), 2.0 * table.calibration.scale * row.error_ms)
    return [errors.get(position.name, 0.0) for position in table.space.positions]


def _pairs(num: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(num) for j in range(num) if i != j)
