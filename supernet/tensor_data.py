"""Images that fit into memory as data for a search: tensors in, batches out, for notebooks and small experiments.

Why here: `supernet` can be tried with torch alone. It must not know files or augmentation.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from supernet.errors import InputError, nearest
from supernet.rng import generator
from supernet.sync import rank_slice
from supernet.training import Batch

SPLITS = ("train", "validation", "test")


class TensorData:
    """Batches of given tensors; implements `supernet.training.Data`.

    Args:
        splits: Per split (`train`, `validation`, `test`) the images, float32 (M, C, H, W), normalised, and their
            labels, int64 (M,).
        seed: Of the order of the batches.

    Raises:
        InputError: If a split is missing or empty, or has not as many labels as images.
    """

    def __init__(self, splits: Mapping[str, Batch], *, seed: int = 0) -> None:
        for name in SPLITS:
            if name not in splits:
                raise InputError(f"splits: no {name!r}; expected {', '.join(SPLITS)}")
            images, labels = splits[name]
            if not 0 < len(images) == len(labels):
                raise InputError(f"splits[{name!r}]: {len(images)} images with {len(labels)} labels; expected as many")
        self.splits, self.seed = dict(splits), seed

    def batches(
        self, split: str, batch_size: int, *, start: int = 0, rank: int = 0, num_ranks: int = 1
    ) -> Iterator[Batch]:
        """Yield batches without end, from batch `start` on: the epochs one after the other, each in its own order."""
        images, labels = self._split(split)
        first, last = rank_slice(batch_size, rank, num_ranks)
        number, epoch, order = start, -1, torch.arange(len(labels))
        while True:
            chosen = []
            for position in range(number * batch_size + first, number * batch_size + last):
                if position // len(labels) != epoch:
                    epoch = position // len(labels)
                    order = torch.randperm(len(labels), generator=generator(self.seed, split, epoch))
                chosen.append(int(order[position % len(labels)]))
            yield images[chosen], labels[chosen]
            number += 1

    def once(self, split: str, batch_size: int, *, limit: int | None = None) -> Iterator[Batch]:
        """Yield a split once, in order, or its first `limit` images."""
        images, labels = self._split(split)
        stop = min(len(labels), limit or len(labels))
        for begin in range(0, stop, batch_size):
            yield images[begin : min(begin + batch_size, stop)], labels[begin : min(begin + batch_size, stop)]

    def _split(self, name: str) -> tuple[Tensor, Tensor]:
        if name not in self.splits:
            raise InputError(f"unknown split {name!r}{nearest(name, self.splits)}")
        return self.splits[name]
