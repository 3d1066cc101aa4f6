"""The index of a build against the same done in memory, with digests of which many are alike."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from orchestrator.data.index import Index, new_index
from orchestrator.data.keys import image_keys
from supernet.errors import RunError

NUM, NUM_LABELS, SEED = 30_000, 5, 3


class Made:
    """Images of two parts, every third one known already under another label or in the other part."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.digests = rng.integers(0, 2**64, (NUM, 2), np.uint64)
        self.digests[::3] = self.digests[rng.integers(0, NUM, len(self.digests[::3]))]
        self.labels = rng.integers(-1, NUM_LABELS, NUM)  # -1: corrupt
        self.parts = np.where(np.arange(NUM) < 0.8 * NUM, "train", "test")

    def fill(self, index: Index, size: int = 1000, part: str = "") -> None:
        """Add all images, so many at a time, to their parts or to one."""
        zeros = np.zeros(size, np.int64)
        for first in range(0, NUM, size):
            here = slice(first, first + size)
            index.add(part or str(self.parts[first]), first, self.labels[here], self.digests[here], zeros, zeros)


@pytest.fixture(scope="module")
def made() -> Made:
    return Made()


def test_splits_and_orders_are_those_of_sorting_in_memory(made: Made, tmp_path: Path) -> None:
    train = np.flatnonzero((made.parts == "train") & (made.labels >= 0))
    counts = np.bincount(made.labels[train])
    cut_off = {"validation": {label: int(counts[label]) // 10 for label in range(NUM_LABELS)}}
    splitting = image_keys(made.digests[:, 0], SEED, 1)
    ordering = image_keys(made.digests[:, 1], SEED, 2)
    expected: dict[str, list[int]] = {"train": [], "validation": []}
    for label in range(NUM_LABELS):
        order = sorted(train[made.labels[train] == label], key=lambda row: (splitting[row], *made.digests[row]))
        expected["validation"] += order[: counts[label] // 10]
        expected["train"] += order[counts[label] // 10 :]
    expected["test"] = np.flatnonzero((made.parts == "test") & (made.labels >= 0)).tolist()
    with new_index(tmp_path / "index.db", SEED) as index:
        made.fill(index)
        assert index.num_seen("train") == dict(enumerate(counts.tolist()))
        index.split("train", cut_off)
        for split, rows in expected.items():
            wanted = sorted(rows, key=lambda row: (ordering[row], *made.digests[row], made.labels[row]))
            found = list(index.entries(split))
            assert [(one.digest, one.label) for one in found] == [
                (made.digests[row].astype("<u8").tobytes(), made.labels[row]) for row in wanted
            ]
            assert index.num_placed(split) == Counter(made.labels[rows].tolist())
            assert len({one.row for one in found}) == len(found)
            middle = [row for row in sorted(one.row for one in found) if 7_000 <= row < 29_000]
            assert sorted(index.rows(split, 7_000, 29_000)) == middle


def test_content_is_in_the_order_of_digests_and_labels(made: Made, tmp_path: Path) -> None:
    with new_index(tmp_path / "index.db", SEED) as index:
        made.fill(index, part="train")
        blocks = list(index.by_content("train"))
    assert len(blocks) > 1
    digests, labels = (np.concatenate(columns) for columns in zip(*blocks, strict=True))
    good = made.labels >= 0
    order = np.lexsort((made.labels[good], made.digests[good, 1], made.digests[good, 0]))
    assert (digests == made.digests[good][order]).all()
    assert (labels == made.labels[good][order]).all()


def test_images_in_two_splits_are_told_in_pairs(made: Made, tmp_path: Path) -> None:
    with new_index(tmp_path / "index.db", SEED) as index:
        made.fill(index)
        index.split("train", {})
        pairs = list(index.duplicates())
    splits: dict[bytes, set[str]] = {}
    for row in np.flatnonzero(made.labels >= 0):
        splits.setdefault(made.digests[row].tobytes(), set()).add(str(made.parts[row]))
    assert len(pairs) == sum(len(of) - 1 for of in splits.values()) > 1000
    for pair in pairs:
        assert (made.digests[pair.first] == made.digests[pair.second]).all()
        assert (pair.first_split, pair.second_split) == (made.parts[pair.first], made.parts[pair.second])
        assert pair.first_split != pair.second_split
    assert [pair.first for pair in pairs] == sorted(pair.first for pair in pairs)


def test_a_full_disk_is_said_with_the_file(made: Made, tmp_path: Path) -> None:
    def fill() -> None:
        with new_index(tmp_path / "index.db", SEED) as index:
            index._database.execute("PRAGMA max_page_count = 20")
            made.fill(index)

    with pytest.raises(RunError, match=r"index\.db: cannot be kept \(database or disk is full\); free space there"):
        fill()
