"""Row groups of a data set folder, read when needed and kept within a bound of memory.

Why here: small data sets are decoded once and gathered from memory ever after; large ones stream, with at most a
window of row groups in memory. It must not know order, augmentation or ranks.
"""

from collections import OrderedDict
from sys import getsizeof
from typing import Any

import numpy as np

from orchestrator.data.augment import Size, to_input_size
from orchestrator.data.decoding import decode_fast
from orchestrator.data.format import SPLITS, Manifest
from orchestrator.data.pixels import Pixels
from orchestrator.data.shards import Group, read_group
from orchestrator.data.storage import Storage

ROW_BYTES = 2 * 8 + 8 + 1
"""Of a row beside its image and digest: where these are, its label, whether it was decoded."""

Indices = np.ndarray[Any, np.dtype[np.int64]]


class _Group:
    """One row group: encoded images, and those already brought to the input size."""

    def __init__(self, read: Group) -> None:
        self.read = read
        self.labels: Indices = read.labels
        self.pixels: Pixels = np.empty((0,), np.uint8)
        self.filled = np.zeros(len(read.encoded), bool)
        # Of small images the objects around them are most of it.
        self.num_bytes = ROW_BYTES * len(read.encoded) + sum(map(getsizeof, (*read.encoded, *read.digests)))

    def fixed(self, rows: Indices, channels: int, size: Size, *, crop: bool) -> Pixels:
        """Return rows at the input size, decoding those asked for the first time."""
        if not self.pixels.size:
            self.pixels = np.empty((len(self.read.encoded), channels, *size), np.uint8)
            self.num_bytes += self.pixels.nbytes
        for row in rows[~self.filled[rows]].tolist():
            self.pixels[row] = to_input_size(self.native(row, channels), size, crop=crop)
            self.filled[row] = True
        return self.pixels[rows]

    def native(self, row: int, channels: int) -> Pixels:
        """Decode one row at its native size."""
        return decode_fast(self.read.image(row), channels, self.read.place(row))


class RowGroups:
    """All row groups of a data set, behind a cache that forgets the least recently used ones.

    Args:
        root: Where the data set is.
        manifest: Its manifest.
        channels: 1 or 3, what images are decoded to.
        size: (height, width) of images at the input size.
        crop: How images are brought to it, see `to_input_size`.
        cache_bytes: Bound of the cache; one row group is kept even if it alone is larger.
    """

    def __init__(
        self, root: Storage, manifest: Manifest, *, channels: int, size: Size, crop: bool, cache_bytes: int
    ) -> None:
        self.root = root
        self.num_classes = manifest.num_classes
        self.channels = channels
        self.size = size
        self.crop = crop
        self.cache_bytes = cache_bytes
        self._places = {
            split: [(s, g) for s in manifest.shards if s.split == split for g in range(len(s.rows))] for split in SPLITS
        }
        self.sizes: dict[str, Indices] = {
            split: np.array([n for s in manifest.shards if s.split == split for n in s.rows], np.int64)
            for split in SPLITS
        }
        self._starts = {split: np.concatenate([[0], np.cumsum(sizes)]) for split, sizes in self.sizes.items()}
        self._kept: OrderedDict[tuple[str, int], _Group] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Travel to a loader process without the cache."""
        return self.__dict__ | {"_kept": OrderedDict()}

    def fixed(self, split: str, indices: Indices) -> tuple[Pixels, Indices]:
        """Return images at the input size, shape (b, channels, height, width), and labels, of samples of a split."""
        images = np.empty((len(indices), self.channels, *self.size), np.uint8)
        labels = np.empty(len(indices), np.int64)
        for group, chosen, rows in self._located(split, indices):
            images[chosen] = group.fixed(rows, self.channels, self.size, crop=self.crop)
            labels[chosen] = group.labels[rows]
            self._trim()
        return images, labels

    def native(self, split: str, indices: Indices) -> tuple[list[Pixels], Indices]:
        """Return images at their native size and labels, of samples of a split."""
        images: list[Pixels] = [np.empty((0,), np.uint8)] * len(indices)
        labels = np.empty(len(indices), np.int64)
        for group, chosen, rows in self._located(split, indices):
            for place, row in zip(chosen.tolist(), rows.tolist(), strict=True):
                images[place] = group.native(row, self.channels)
            labels[chosen] = group.labels[rows]
            self._trim()
        return images, labels

    @property
    def kept_bytes(self) -> int:
        """Bytes the cache holds."""
        return sum(group.num_bytes for group in self._kept.values())

    def _located(self, split: str, indices: Indices) -> list[tuple[_Group, Indices, Indices]]:
        """Return, for each row group touched, the group, the places in `indices` and the rows within the group."""
        starts = self._starts[split]
        numbers = np.searchsorted(starts, indices, side="right") - 1
        located = []
        for number in np.unique(numbers).tolist():
            chosen = np.flatnonzero(numbers == number)
            located.append((self._group(split, number), chosen, indices[chosen] - starts[number]))
        return located

    def _group(self, split: str, number: int) -> _Group:
        key = (split, number)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        shard, row_group = self._places[split][number]
        group = _Group(read_group(self.root, shard, row_group, self.num_classes))
        self._kept[key] = group
        return group

    def _trim(self) -> None:
        while len(self._kept) > 1 and self.kept_bytes > self.cache_bytes:
            self._kept.popitem(last=False)
