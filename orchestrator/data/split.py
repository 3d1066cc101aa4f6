"""Which image goes into which split, and in which order: by the images' content and a seed alone. Only numbers.

Why here: the same images make the same shards, whatever kind of source they come from and in whatever order.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from orchestrator.data.examine import Examined
from orchestrator.data.format import SPLITS
from orchestrator.data.keys import Indices, Keys, image_keys, order_of
from supernet.errors import InputError

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
    main = main[_sorted(found, main, image_keys(found.digests[main, 0], seed, SPLITTING))]
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
    return image_keys(found.digests[rows, 1], seed, ORDERING)


def _sorted(found: Examined, rows: Indices, keys: Keys) -> Indices:
    """Return the order by key; equal images of equal label are interchangeable, so nothing of the source decides."""
    return order_of(keys, lambda i: (found.labels[rows[i]], found.digests[rows[i], 1], found.digests[rows[i], 0]))


def by_content(found: Examined, rows: Indices) -> Indices:
    """Return the order by digest, then label."""
    return order_of(found.digests[rows, 0], lambda i: (found.labels[rows[i]], found.digests[rows[i], 1]))


def duplicates(found: Examined, rows: Mapping[str, Indices]) -> tuple[int, tuple[str, ...]]:
    """Return how many images stand in more than one split, and some of them in words."""
    indices = np.concatenate([rows[split] for split in SPLITS])
    of_split = np.repeat(np.arange(len(SPLITS), dtype=np.int8), [len(rows[split]) for split in SPLITS])
    order = order_of(found.digests[indices, 0], lambda i: (of_split[i], found.digests[indices[i], 1]))
    first, second = order[:-1], order[1:]
    same = of_split[first] != of_split[second]
    for half in (0, 1):
        same &= found.digests[indices[first], half] == found.digests[indices[second], half]
    pairs: Iterable[int] = np.flatnonzero(same)[:SHOWN_DUPLICATES].tolist()
    shown = tuple(
        " = ".join(f"{found.origin(indices[i])} ({SPLITS[of_split[i]]})" for i in order[pair : pair + 2])
        for pair in pairs
    )
    return int(same.sum()), shown
