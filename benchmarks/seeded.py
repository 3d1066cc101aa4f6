"""A supernet that is warmed up for a short while, with its images, its judged pool and latency tables, in a folder.

What the benchmarks of whole sweeps begin with. A killed run goes on, under the settings that it was begun with.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import processor, say
from benchmarks.macro.supernets import SHARED_FILE, STATE_FILE, go_on, nothing_costs, seconds_of, share
from latency.errors import MachineTooNoisy
from latency.tables.build import build_table
from latency.tables.table import LatencyTable
from latency.target import Target
from orchestrator.data.batches import ImageData
from orchestrator.data.build import build
from supernet.derive import DeriveSettings
from supernet.errors import InputError
from supernet.files import write_whole
from supernet.judging import PathJudge
from supernet.loop import Search
from supernet.network import Supernet
from supernet.objective import ObjectiveSettings
from supernet.plain import parse_json, read_json, to_json
from supernet.pool import Judged, pool_paths
from supernet.presets import load_space
from supernet.search_settings import SearchSettings
from supernet.space import Space

BATCH_SIZE, OWN_BATCHES, NUM_TRIES = 64, 4, 3
SETTINGS_FILE = "settings.json"

WHAT_IS_RUN = ("json", "work", "targets", "fractions", "trials", "seeds", "table_seconds")
"""Settings that may change from run to run: they say how much is run, not what comes of it. A table is measured once,
however long; what follows from another one is told by its budget, see `require_budget`."""


@dataclass(frozen=True)
class Pool:
    """Judged paths, and the CPU seconds that they took."""

    judged: tuple[Judged, ...]
    cpu_seconds: float


@dataclass(frozen=True)
class Seeded:
    """What one seed gives.

    Attributes:
        seed: Of weights and draws.
        supernet: Warmed up.
        data: Its images.
        pool: Judged paths.
        judge: Judges more.
        folder: Where it is kept.
    """

    seed: int
    supernet: Supernet
    data: ImageData
    pool: Pool
    judge: PathJudge
    folder: Path

    @property
    def warmup_seconds(self) -> float:
        """CPU seconds of the warm-up and of the statistics that its paths share, also of runs before."""
        return sum(seconds_of(self.folder / name) for name in (STATE_FILE, SHARED_FILE))


def add_arguments(parser: argparse.ArgumentParser, *, work: str) -> None:
    """Add the settings that `prepared`, `search_settings` and `derive_settings` read."""
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--source", default="scattered-digits", help="images, as data.source of a sweep")
    parser.add_argument("--space", default="digits")
    parser.add_argument("--warmup-steps", type=int, default=400)
    parser.add_argument("--search-steps", type=int, default=60, help="of alpha, per budget")
    parser.add_argument("--pool-size", type=int, default=80)
    parser.add_argument("--candidates", type=int, default=8, help="paths judged per budget")
    parser.add_argument("--images", type=int, default=300, help="validation images that judge a path")
    parser.add_argument("--table-seconds", type=float, default=20.0)
    parser.add_argument("--work", type=Path, default=Path(work), help="folder that a killed run goes on from")


def about(asked: argparse.Namespace) -> dict[str, Any]:
    """Return what a report says of how it was made: machine, version and settings."""
    settings = {key: value for key, value in vars(asked).items() if key not in ("json", "work")}
    return {"processor": processor(), "torch": torch.__version__, "settings": settings}


def require_settings(asked: argparse.Namespace) -> None:
    """Write the settings that decide what is found to the work folder, or compare them with those that are there.

    Raises:
        InputError: If they differ: what is kept there was found under others.
    """
    file, mine = asked.work / SETTINGS_FILE, {k: v for k, v in vars(asked).items() if k not in WHAT_IS_RUN}
    if not file.exists():
        if any(asked.work.glob("seed-*")):
            raise InputError(f"--work {asked.work}: what is kept there says no settings; take another --work")
        write_whole(file, to_json(mine).encode())
    kept: Mapping[str, object] = parse_json(file.read_bytes(), str(file))
    for key in sorted(kept.keys() | mine.keys()):
        if kept.get(key) != mine.get(key):
            raise InputError(
                f"--work {asked.work}: kept under {key} {kept.get(key)!r}, asked for is {mine.get(key)!r}; "
                f"ask for the former, or take another --work"
            )


def require_budget(file: Path, kept: float, budget: float) -> None:
    """Check that what a file keeps was found within the budget that the table of now gives.

    Raises:
        InputError: If the table is another one than then.
    """
    if kept != budget:
        raise InputError(
            f"{file}: kept within a budget of {kept!r}, the table now gives {budget!r}: it was measured anew since; "
            f"take another --work"
        )


def prepared(asked: argparse.Namespace, seed: int) -> Seeded:
    """Warm a supernet up and judge its pool, going on from what is kept.

    Raises:
        InputError: If what is kept was found under other settings, or images and space do not fit.
    """
    require_settings(asked)
    space, root, folder = load_space(asked.space), asked.work / "data", asked.work / f"seed-{seed}"
    num_classes = build(asked.source, str(root), validation_fraction=0.2, test_fraction=0.2, seed=0).num_classes
    if num_classes != space.num_classes:
        raise InputError(f"--source {asked.source}: {num_classes} classes, and the space has {space.num_classes}")
    data = ImageData(root, input_size=space.input_size, seed=seed)
    settings = SearchSettings(num_steps=asked.warmup_steps, batch_size=BATCH_SIZE, learning_rate=0.1, arch_every=0)
    supernet = Supernet(space, seed=seed, zero_init_residual=settings.sharing.zero_init_residual)
    go_on(Search(supernet, nothing_costs(space), settings, data, seed=seed), folder / STATE_FILE, say)
    share(supernet, data, BATCH_SIZE, folder / SHARED_FILE)
    judge = judge_of(supernet, data, asked, own_batches=0)
    file = folder / "pool.json"
    if not file.exists():
        write_whole(file, to_json(judged_pool(judge, space, asked, seed)).encode())
    return Seeded(seed, supernet, data, read_json(Pool, file.read_bytes(), str(file)), judge, folder)


def judge_of(
    supernet: Supernet, data: ImageData, asked: argparse.Namespace, *, own_batches: int = OWN_BATCHES
) -> PathJudge:
    """Return what judges the paths of a supernet, by batch-norm statistics of their own or, with 0, by its."""
    return PathJudge(supernet, data, batch_size=BATCH_SIZE, recalibration_batches=own_batches, limit=asked.images)


def judged_pool(judge: PathJudge, space: Space, asked: argparse.Namespace, seed: int) -> Pool:
    """Judge the pool of a seed."""
    start = time.process_time()
    judged = tuple(judge(pool_paths(space, asked.pool_size, seed)))
    return Pool(judged, time.process_time() - start)


def search_settings(num_steps: int, budget: float, *, train_weights: bool) -> SearchSettings:
    """Return a search within a budget: on frozen weights, as trials in `shared` mode make it, or with weights."""
    return SearchSettings(
        num_steps=num_steps,
        batch_size=BATCH_SIZE,
        train_weights=train_weights,
        learning_rate=0.05,
        arch_every=2,
        arch_learning_rate=0.05,
        estimator="two-path",
        objective=ObjectiveSettings("budget", reference=budget),
    )


def derive_settings(asked: argparse.Namespace) -> DeriveSettings:
    """Return how networks are derived."""
    return DeriveSettings(num_candidates=asked.candidates, pool_size=asked.pool_size)


def table_of(space: Space, target: Target, asked: argparse.Namespace) -> LatencyTable:
    """Return the table of a measured target, built where it is missing; in more time where the machine is noisy.

    Raises:
        MachineTooNoisy: If it stays so.
    """
    number = 1
    while True:
        try:
            return build_table(space, target, asked.work / "tables", seconds=number * asked.table_seconds)
        except MachineTooNoisy as error:
            text = str(error).replace("--seconds", "--table-seconds")  # as a benchmark calls it
            if number == NUM_TRIES:
                raise MachineTooNoisy(text) from error
            say(f"{target.name}: {text}")
            number += 1
