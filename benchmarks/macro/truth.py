"""NAS-Bench-Macro (Su et al., CVPR 2021): the table of true accuracies, and its keys as paths of our space.

Only the last step of a stage reads it, to compare: nothing that trains, judges or derives may.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath

from benchmarks.macro.supernets import SPACE
from supernet.pool import drops_last
from supernet.presets import load_space
from supernet.space import Path, Space


@dataclass(frozen=True)
class Truth:
    """What the table says of one network.

    Attributes:
        accuracy: Mean test accuracy of three trainings, in per cent.
        num_params: Parameters.
        num_macs: Multiply-adds.
    """

    accuracy: float
    num_params: int
    num_macs: int


def path_of(key: str) -> Path:
    """Return the path of a key: digit 0 is our last candidate, 1 and 2 are the first two."""
    return tuple((int(digit) + 2) % 3 for digit in key)


def distinct(path: Path) -> Path:
    """Return the path that stands for all of the same network: the one that skips the last layers of its stages."""
    return drops_last(_space(), path)


@cache
def _space() -> Space:
    return load_space(SPACE)


def read_truth(file: FilePath) -> dict[Path, Truth]:
    """Read the table; keys are all 6,561 paths, equal networks with the mean of their accuracies."""
    table = {path_of(key): entry for key, entry in json.loads(file.read_text()).items()}
    same: dict[Path, list[float]] = {}
    for path, entry in table.items():
        same.setdefault(distinct(path), []).append(entry["mean_acc"])
    return {
        path: Truth(_mean(same[distinct(path)]), int(entry["params"]), int(entry["flops"]))
        for path, entry in table.items()
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
