"""Judges paths of a trained supernet with its shared weights, each once, and keeps what it finds beside the supernet.

Which networks are judged depends on no seed and no supernet, so that supernets are compared on the same ones.
"""

import itertools
import json
import random
from collections.abc import Callable

from benchmarks.macro.images import MacroImages
from benchmarks.macro.supernets import Run
from benchmarks.macro.truth import distinct
from supernet.files import write_whole
from supernet.network import Supernet
from supernet.space import Path
from supernet.specialise import path_judge

REFIT_BATCHES, BATCH_SIZE, NUM_IMAGES = 4, 128, 1500
SAVE_EVERY = 10


def networks(count: int) -> list[Path]:
    """Return so many distinct networks of the space, drawn once and for all; the first ones of a longer list."""
    every = sorted({distinct(path) for path in itertools.product(range(3), repeat=8)})
    random.Random(0).shuffle(every)
    return every[:count]


def judge(run: Run, supernet: Supernet, data: MacroImages, count: int, say: Callable[[str], None]) -> dict[Path, float]:
    """Return the validation loss of each network on the shared weights, batch norm refitted for each.

    Source of judging by loss rather than top-1: it ranked better here, Kendall tau 0.58 against 0.53.
    """
    file = run.folder / "judged.json"
    known = {tuple(path): loss for path, loss in json.loads(file.read_text())} if file.exists() else {}
    ask = path_judge(supernet, data, batch_size=BATCH_SIZE, recalibration_batches=REFIT_BATCHES, limit=NUM_IMAGES)
    wanted = networks(count)
    for number, path in enumerate(wanted, 1):
        if path in known:
            continue
        _, known[path] = ask(path)
        if number % SAVE_EVERY == 0 or number == count:
            write_whole(file, json.dumps([[list(path), loss] for path, loss in known.items()]).encode())
            say(f"{run.folder.name}: judged {number}/{count}")
    return {path: known[path] for path in wanted}
