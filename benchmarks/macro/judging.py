"""Judges paths of a trained supernet with its shared weights, each once, and keeps what it finds beside the supernet.

Which networks are judged depends on no seed and no supernet, so that supernets are compared on the same ones.
"""

import itertools
import random
from collections.abc import Callable

from benchmarks.macro.images import MacroImages
from benchmarks.macro.supernets import BATCH_SIZE, Run, read_settings
from benchmarks.macro.truth import distinct
from supernet.derive import DeriveSettings
from supernet.files import write_whole
from supernet.judging import PathJudge
from supernet.network import Supernet
from supernet.plain import read, read_json, to_json
from supernet.pool import Judged
from supernet.space import Path

PART = 100
"""Paths that are judged before they are kept."""

OWN_BATCHES = 4
"""Batches that a path's own batch-norm statistics are taken from, where it does not have those that all paths share."""


def networks(count: int) -> list[Path]:
    """Return so many distinct networks of the space, drawn once and for all; the first ones of a longer list."""
    every = sorted({distinct(path) for path in itertools.product(range(3), repeat=8)})
    random.Random(0).shuffle(every)
    return every[:count]


def derive_settings() -> DeriveSettings:
    """Return how networks are judged and derived, but for the strategy."""
    settings: DeriveSettings = read(DeriveSettings, read_settings()["derive"], "settings.yaml.derive")
    return settings


def has_own(run: Run, data: MacroImages) -> bool:
    """Whether a sweep that says nothing else judges each path by batch-norm statistics of its own."""
    return not run.settings(data).sharing.zero_init_residual


def judge_of(supernet: Supernet, data: MacroImages, *, own: bool) -> PathJudge:
    """Return what judges paths, by batch-norm statistics of their own or by those that all share."""
    batches, limit = OWN_BATCHES if own else 0, derive_settings().max_validation_images
    return PathJudge(supernet, data, batch_size=BATCH_SIZE, recalibration_batches=batches, limit=limit)


def judge(
    run: Run, supernet: Supernet, data: MacroImages, count: int, say: Callable[[str], None], *, own: bool
) -> list[Judged]:
    """Return what validation says of the first `count` networks on the shared weights, going on from what is known."""
    file = run.folder / f"judged-{'own' if own else 'shared'}.json"
    known: list[Judged] = read_json(list[Judged], file.read_bytes(), str(file)) if file.exists() else []
    wanted, ask = networks(count), judge_of(supernet, data, own=own)
    while len(known) < count:
        known += ask(wanted[len(known) : min(count, len(known) + PART)])
        write_whole(file, to_json(known).encode())
        say(f"{run.folder.name}: judged {len(known)}/{count}")
    return known[:count]
