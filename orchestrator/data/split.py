"""How many images of each class are cut off for a split, and which images stand in two of them.

Why here: the same images make the same shards, whatever kind of source they come from and in whatever order.
"""

from collections.abc import Mapping
from itertools import islice

from orchestrator.data.examine import Examined
from orchestrator.data.index import Index
from supernet.errors import InputError

SHOWN_DUPLICATES = 100


def cut_splits(found: Examined, index: Index, fractions: Mapping[str, float]) -> None:
    """Put every image into a split.

    Args:
        found: The images.
        index: That knows them.
        fractions: Share of each class of the train part that is cut off for a split.

    Raises:
        InputError: If a class is left with nothing to train on.
    """
    seen, cut_off = index.num_seen("train"), {split: dict[int, int]() for split in fractions}
    for label, name in enumerate(found.source.class_names):
        count = seen.get(label, 0)
        need = {split: max(1, round(fraction * count)) for split, fraction in fractions.items()}
        if count - sum(need.values()) < 1:
            raise InputError(
                f"{found.source.name}: class {name!r}: {count} images are too few to train on after {need} are "
                "set aside; add images or remove the class"
            )
        for split, wanted in need.items():
            cut_off[split][label] = wanted
    index.split("train", cut_off)


def duplicates(found: Examined, index: Index) -> tuple[int, tuple[str, ...]]:
    """Return how many images stand in more than one split, and some of them in words."""
    pairs = index.duplicates()
    shown = tuple(
        f"{found.origin(pair.first)} ({pair.first_split}) = {found.origin(pair.second)} ({pair.second_split})"
        for pair in islice(pairs, SHOWN_DUPLICATES)
    )
    return len(shown) + sum(1 for _ in pairs), shown
