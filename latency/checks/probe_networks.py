"""Which networks a prediction is tested on: random ones and structured ones, none of them a calibration network.

Random networks resemble each other (their costs average out); what a search returns does not resemble them.
"""

import random
from collections.abc import Sequence

from latency.tables.chains import calibration_paths
from supernet.cost import macs_table
from supernet.errors import InputError
from supernet.presets import load_network, preset_names
from supernet.rows import ZERO
from supernet.space import Architecture, Path, Space


def uniform_path(space: Space, rng: random.Random) -> Path:
    """Draw a path, every candidate as likely as its neighbours."""
    return tuple(rng.randrange(len(position.candidates)) for position in space.positions)


def random_paths(space: Space, num: int, seed: int) -> list[Path]:
    """Draw distinct paths uniformly, none of them a calibration network (fewer if the space is that small)."""
    rng = random.Random(f"verify {seed}")
    known = set(calibration_paths(space))
    drawn: dict[Path, None] = {}
    for _ in range(50 * num):
        path = uniform_path(space, rng)
        if path not in known:
            drawn[path] = None
        if len(drawn) == num:
            break
    return list(drawn)


def structured_paths(space: Space) -> dict[str, Path]:
    """Return named paths of the kinds that searches end in, none of them a calibration network.

    The same candidate everywhere, dense and shallow ones, weight early or late, and the choices of the published
    networks where they fit the space's positions.
    """
    costs = macs_table(space).candidates
    names = [tuple(op.short for op in position.candidates) for position in space.positions]
    by_cost = [
        [index for index in sorted(range(len(row)), key=row.__getitem__) if position.candidates[index] != ZERO]
        for position, row in zip(space.positions, costs, strict=True)
    ]
    light, heavy = tuple(order[0] for order in by_cost), tuple(order[-1] for order in by_cost)
    middle = tuple(order[len(order) // 2] for order in by_cost)
    zeros = [row.index("z") if "z" in row else -1 for row in names]
    half = len(costs) // 2
    found: dict[str, Path] = {
        f"all-{op}": tuple(row.index(op) for row in names)
        for op in (names[0] if names else ())
        if op != "z" and all(op in row for row in names)
    }
    found |= {
        "small": _with_zeros(middle, zeros, every=1),
        "shallow-heavy": _with_zeros(heavy, zeros, every=1),
        "half-deep-heavy": _with_zeros(heavy, zeros, every=2),
        "half-deep-light": _with_zeros(light, zeros, every=2),
        "early-heavy": (*heavy[:half], *light[half:]),
        "late-heavy": (*light[:half], *heavy[half:]),
        **_published(space),
    }
    known = set(calibration_paths(space))
    distinct = {path: name for name, path in reversed(found.items()) if path not in known}
    return {name: path for path, name in reversed(distinct.items())}


def _with_zeros(path: Path, zeros: Sequence[int], every: int) -> Path:
    """Replace every so many of the choices that may be skipped by Zero."""
    chosen, count = list(path), 0
    for position, zero in enumerate(zeros):
        if zero >= 0:
            if count % every == 0:
                chosen[position] = zero
            count += 1
    return tuple(chosen)


def _published(space: Space) -> dict[str, Path]:
    """Return the published choices as paths of this space: its own widths, their operators."""
    found = {}
    for name in preset_names("networks"):
        _, architecture = load_network(name)
        try:
            found[name] = space.path(Architecture(space.name, architecture.stages))
        except InputError:
            continue  # other positions or candidates
    return {name: path for name, path in found.items() if path}
