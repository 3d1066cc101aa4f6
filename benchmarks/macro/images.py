"""CIFAR-10 in memory: decoded once to bytes, batches augmented as tensors. Knows no table and no search.

Why not the shards of a sweep: the benchmark trains on two cores, where decoding and augmenting image by image takes
a third of the time. Splits: the training file's last 5,000 images validate, the test file is the test.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from supernet.rng import generator
from supernet.sync import rank_slice
from supernet.training import Batch

NUM_VALIDATION, PAD = 5_000, 4
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def read_images(file: Path) -> tuple[Tensor, Tensor]:
    """Return the images of a Parquet file as uint8 (N, 3, 32, 32) and their labels."""
    table = pq.read_table(file)
    encoded = [item["bytes"].as_buffer() for item in table["img"]]
    images = [decode_image(torch.frombuffer(bytearray(item), dtype=torch.uint8), ImageReadMode.RGB) for item in encoded]
    return torch.stack(images), torch.tensor(table["label"].to_numpy())


class MacroImages:
    """Batches as pure functions of (seed, split, number), see `supernet.training.Data`.

    Args:
        folder: Holds `train-*.parquet` and `test-*.parquet` with columns `img` (bytes) and `label`.
        seed: Of the order and the augmentation: crops from a frame of 4 pixels, and mirroring.
    """

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.seed = seed
        self._orders: dict[tuple[str, int], Tensor] = {}
        images, labels = read_images(next(folder.glob("train-*.parquet")))
        self.splits = {
            "train": (images[:-NUM_VALIDATION], labels[:-NUM_VALIDATION]),
            "validation": (images[-NUM_VALIDATION:], labels[-NUM_VALIDATION:]),
            "test": read_images(next(folder.glob("test-*.parquet"))),
        }

    def num_steps(self, epochs: float, batch_size: int) -> int:
        """Return the steps of so many epochs of the training split."""
        return round(epochs * len(self.splits["train"][1]) / batch_size)

    def batches(
        self, split: str, batch_size: int, *, start: int = 0, rank: int = 0, num_ranks: int = 1
    ) -> Iterator[Batch]:
        """Yield batches without end, epoch after epoch; those of `train` are augmented."""
        images, labels = self.splits[split]
        low, high = rank_slice(batch_size, rank, num_ranks)
        while True:
            chosen = torch.stack([self._sample(split, start * batch_size + i) for i in range(low, high)])
            batch = images[chosen]
            if split == "train":
                batch = augmented(batch, generator(self.seed, "augment", start, rank))
            yield normalised(batch), labels[chosen]
            start += 1

    def once(self, split: str, batch_size: int, *, limit: int | None = None) -> Iterator[Batch]:
        """Yield a split once, in order, without augmentation."""
        images, labels = self.splits[split]
        count = min(len(labels), limit or len(labels))
        for first in range(0, count, batch_size):
            here = slice(first, min(first + batch_size, count))
            yield normalised(images[here]), labels[here]

    def _sample(self, split: str, number: int) -> Tensor:
        """Return which image stands at a place of the endless order."""
        size = len(self.splits[split][1])
        epoch, place = divmod(number, size)
        return self._order(split, epoch, size)[place]

    def _order(self, split: str, epoch: int, size: int) -> Tensor:
        key = (split, epoch)
        if key not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k[0] != split or k[1] >= epoch - 1}
            self._orders[key] = torch.randperm(size, generator=generator(self.seed, "order", split, epoch))
        return self._orders[key]


def augmented(images: Tensor, draws: torch.Generator) -> Tensor:
    """Return random crops from a black frame, half of them mirrored: uint8 (N, C, H, W) to the same."""
    count, channels, height, width = images.shape
    framed = torch.nn.functional.pad(images, (PAD,) * 4)
    top, left = torch.randint(2 * PAD + 1, (2, count, 1), generator=draws)
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    mirrored = torch.rand(count, 1, generator=draws) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    which, plane = torch.arange(count).view(-1, 1, 1, 1), torch.arange(channels).view(1, -1, 1, 1)
    return framed[which, plane, rows[:, None, :, None], columns[:, None, None, :]]


def normalised(images: Tensor) -> Tensor:
    """Return float32 images in `channels_last`, each channel with mean 0 and deviation 1 over the data set."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
