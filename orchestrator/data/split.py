"""Which image goes into which split, and in which order: by the images' content and a seed alone. Only numbers.

Why here: the same images make the same shards, whatever kind of source they come from and in whatever order.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from orchestrator.data.examine import Examined
from orchestrator.data.format import SPLITS
from orchestrator.data.keys import Keys, image_keys
from supernet.errors import InputError

Indices = np.ndarray[Any, np.dtype[np.int64]]
SPLITTING, ORDERING = 1, 2
SHOWN_DUPLICATES = 100


def split_rows(found: Examined, fractions: Mapping[str, float], seed: int) -> dict[str, Indices]:
    """Return the rows of each split, in the order they are written in.

    Args:
        found: The images.
        fractions: Share of each class of the train part that is cut off for a split.
        seed: Of split and order.

    Raises:
        InputError: If a class is left with nothing to train on.
    """
    rows = {split: found.part(split) for split in SPLITS if split in found.source.parts}
    main = rows["train"]
    main = main[_sorted(found, main, image_keys(found.digests[main], seed, SPLITTING))]
    main = main[np.argsort(found.labels[main], kind="stable")]
    ends = np.searchsorted(found.labels[main], np.arange(len(found.source.class_names) + 1))
    chosen: dict[str, list[Indices]] = {split: [] for split in ("train", *fractions)}
    for label, name in enumerate(found.source.class_names):
        order = main[ends[label] : ends[label + 1]]
        need = {split: max(1, round(fraction * len(order))) for split, fraction in fractions.items()}
        if len(order) - sum(need.values()) < 1:
            raise InputError(
                f"{found.source.name}: class {name!r}: {len(order)} images are too few to train on after {need} are "
                "set aside; add images or remove the class"
            )
        for split, count in need.items():
            chosen[split].append(order[:count])
            order = order[count:]
        chosen["train"].append(order)
    rows |= {split: np.concatenate(members) for split, members in chosen.items()}
    return {split: rows[split][_sorted(found, rows[split], _ordering(found, rows[split], seed))] for split in SPLITS}


def _ordering(found: Examined, rows: Indices, seed: int) -> Keys:
    return image_keys(found.digests[rows][:, ::-1], seed, ORDERING)


def _sorted(found: Examined, rows: Indices, keys: Keys) -> Indices:
    """Return the order by key; equal images of equal label are interchangeable, so nothing of the source decides."""
    digests = found.digests[rows]
    return np.lexsort((found.labels[rows], digests[:, 1], digests[:, 0], keys))


def duplicates(found: Examined, rows: Mapping[str, Indices]) -> tuple[int, tuple[str, ...]]:
    """Return how many images stand in more than one split, and some of them in words."""
    indices = np.concatenate([rows[split] for split in SPLITS])
    of_split = np.repeat(np.arange(len(SPLITS)), [len(rows[split]) for split in SPLITS])
    digests = found.digests[indices]
    order = np.lexsort((of_split, digests[:, 1], digests[:, 0]))
    same = (digests[order][1:] == digests[order][:-1]).all(1) & (of_split[order][1:] != of_split[order][:-1])
    pairs: Iterable[int] = np.flatnonzero(same)[:SHOWN_DUPLICATES].tolist()
    shown = tuple(
        " = ".join(f"{found.origin(indices[i])} ({SPLITS[of_split[i]]})" for i in order[pair : pair + 2])
        for pair in pairs
    )
    return int(same.sum()), shown
