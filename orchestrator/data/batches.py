"""Batches of images from a data set folder, in an order that is a pure function of (seed, epoch).

Why here: a search that is killed resumes at batch i from nothing but i, and k ranks together see what one would. It
must not know how the folder was built, nor ray or mlflow.

The stream of a split is its epochs one after the other: position p is sample p mod n of epoch p // n. Batch i of size
b is the positions i * b ... i * b + b - 1, so no sample is dropped, and a batch may hold the end of one epoch and the
start of the next (of a split smaller than a batch: several epochs).
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from orchestrator.data.augment import augmented, normalise, preset
from orchestrator.data.format import SPLITS, read_manifest
from orchestrator.data.groups import Indices, RowGroups
from orchestrator.data.keys import sample_keys
from orchestrator.data.order import ordered
from orchestrator.data.storage import Storage
from supernet.errors import InputError, nearest
from supernet.sync import rank_slice

Batch = tuple[Tensor, Tensor]
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, in 0..1."""

CACHE_MIB = 1024


class ImageData:
    """A data set folder seen at one input size.

    Args:
        root: What `orchestrator.data.build.build` made: a folder, or a URI of an object store.
        input_size: (channels, height, width) of the batches; 1 or 3 channels, whatever the images have.
        seed: Seed of order and augmentation.
        augment: Preset of training batches, see `orchestrator.data.augment.PRESETS`.
        num_loader_workers: Processes that prepare batches; 0 prepares them in this one. The stream is the same.
        cache_mib: Memory for row groups, in MiB, over all loader workers of one iterator.
        normalisation: Mean and standard deviation of each channel, for a network that was trained with others than the
            data set's own.

    Raises:
        InputError: If the folder holds no data set or an argument is out of range.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        input_size: tuple[int, int, int],
        seed: int,
        augment: str = "none",
        num_loader_workers: int = 0,
        cache_mib: int = CACHE_MIB,
        normalisation: Normalisation | None = None,
    ) -> None:
        channels, height, width = input_size
        if channels not in (1, 3) or min(height, width) < 1:
            raise InputError(f"input_size {input_size}: must be (channels, height, width) with 1 or 3 channels")
        if seed < 0 or num_loader_workers < 0:
            raise InputError(f"seed {seed}, num_loader_workers {num_loader_workers}: must be 0 or more")
        self.root = Storage(str(root))
        self.manifest = read_manifest(self.root)
        self.input_size = (channels, height, width)
        self.normalisation = normalisation or self.manifest.normalisation(channels)
        if any(len(values) != channels for values in self.normalisation):
            raise InputError(f"normalisation {self.normalisation}: wants mean and deviation of {channels} channels")
        means, deviations = self.normalisation
        if not all(0 <= mean <= 1 for mean in means) or not all(0 < deviation <= 1 for deviation in deviations):
            raise InputError(
                f"normalisation {self.normalisation}: wants means from 0 to 1 and deviations above 0, at most 1: of "
                "pixels in 0..1, not in 0..255"
            )
        self.seed = seed
        self.preset = preset(augment)
        self.num_loader_workers = num_loader_workers
        self._groups = RowGroups(
            self.root,
            self.manifest,
            channels=channels,
            size=(height, width),
            crop=not self.preset.fixed,
            cache_bytes=cache_mib * 2**20 // max(1, num_loader_workers),
        )

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return self.manifest.num_classes

    def num_examples(self, split: str) -> int:
        """Return the number of images of a split: `train` (weights), `validation` (architecture) or `test`."""
        if split not in SPLITS:
            raise InputError(f"unknown split {split!r}{nearest(split, SPLITS)}")
        return self.manifest.counts[split]

    def batches(
        self, split: str, batch_size: int, *, start: int = 0, rank: int = 0, num_ranks: int = 1
    ) -> Iterator[Batch]:
        """Return training batches without end, augmented, from batch `start` on.

        Args:
            split: Name of the split.
            batch_size: Images of the whole batch, over all ranks.
            start: Number of the first batch: all that a resumed search must know.
            rank: Which contiguous slice of every batch is wanted.
            num_ranks: How many slices there are, of equal size to one sample, see `supernet.sync.rank_slice`.

        Returns:
            Iterator of images, float32 (slice, C, H, W), normalised, and labels, int64.

        Raises:
            InputError: If the split is unknown or there are more ranks than samples in a batch.
        """
        if num_ranks < 1 or batch_size < num_ranks:
            raise InputError(f"batch_size {batch_size}: fewer images than ranks, {num_ranks}")
        if not 0 <= rank < num_ranks or start < 0:
            raise InputError(f"rank {rank} of {num_ranks}, start {start}: out of range")
        self.num_examples(split)
        first, last = rank_slice(batch_size, rank, num_ranks)
        return self._iterate(partial(self._training_batch, split, batch_size, first, last), start, None)

    def once(self, split: str, batch_size: int, *, limit: int | None = None) -> Iterator[Batch]:
        """Return a split in the order of the shards, once, not augmented; the last batch may be smaller.

        Args:
            split: Name of the split.
            batch_size: Images per batch.
            limit: Stop after so many images; None for all.

        Raises:
            InputError: If the split is unknown or a number is below 1.
        """
        if batch_size < 1 or (limit is not None and limit < 1):
            raise InputError(f"batch_size {batch_size}, limit {limit}: must be at least 1")
        stop = min(self.num_examples(split), limit or self.num_examples(split))
        return self._iterate(partial(self._plain_batch, split, batch_size, stop), 0, -(-stop // batch_size))

    def _iterate(self, read: Callable[[int], Batch], start: int, stop: int | None) -> Iterator[Batch]:
        stream = _Stream(read, start, stop)
        pin = torch.cuda.is_available()  # copies to a GPU overlap with its work from pinned memory only
        if self.num_loader_workers == 0:
            return map(_pinned, stream) if pin else iter(stream)
        # Forking a process that holds Ray's or torch's threads is unsafe, so workers come from a clean server. The
        # generator keeps the loader from drawing a seed from torch's global one; nothing here uses it.
        loader = DataLoader(
            stream,
            batch_size=None,
            num_workers=self.num_loader_workers,
            multiprocessing_context="forkserver",
            generator=torch.Generator().manual_seed(self.seed),
            pin_memory=pin,
        )
        return iter(loader)

    def _training_batch(self, split: str, batch_size: int, first: int, last: int, number: int) -> Batch:
        positions = np.arange(first, last, dtype=np.int64) + number * batch_size
        epochs, within = np.divmod(positions, self.num_examples(split))
        sizes = tuple(self._groups.sizes[split].tolist())
        indices = ordered(self.seed, epochs, within, SPLITS.index(split), sizes)
        keys = sample_keys(self.seed, epochs, indices)
        read = self._groups.fixed if self.preset.fixed else self._groups.native
        images, labels = read(split, indices)
        return self._tensors(augmented(images, keys, self.preset, self.input_size[1:]), labels)

    def _plain_batch(self, split: str, batch_size: int, stop: int, number: int) -> Batch:
        first = number * batch_size
        return self._tensors(*self._groups.fixed(split, np.arange(first, min(first + batch_size, stop))))

    def _tensors(self, images: np.ndarray, labels: Indices) -> Batch:
        return normalise(images, *self.normalisation), torch.from_numpy(labels)


def _pinned(batch: Batch) -> Batch:
    images, labels = batch
    return images.pin_memory(), labels.pin_memory()


class _Stream(IterableDataset[Batch]):
    """Batches by number; loader worker w of W prepares every W-th, and the loader takes them in turn."""

    def __init__(self, read: Callable[[int], Batch], start: int, stop: int | None) -> None:
        self.read = read
        self.start = start
        self.stop = stop

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        step = 1 if worker is None else worker.num_workers
        number = self.start + (0 if worker is None else worker.id)
        while self.stop is None or number < self.stop:
            yield self.read(number)
            number += step
