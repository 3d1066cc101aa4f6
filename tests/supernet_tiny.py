"""Tiny spaces, supernets and data for the tests of the search core: float64, a few hundred weights each."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from supernet.cost import CostTable, macs_table
from supernet.network import Supernet
from supernet.ops import register
from supernet.rng import generator
from supernet.space import Path, Space, read_space

TINY = {
    "name": "tiny",
    "input_size": [2, 6, 6],
    "num_classes": 3,
    "rows": [
        {"name": "stem", "op": "conv", "kernel_size": 3, "channels": 4},
        {"name": "down", "op": "mbconv", "kernel_size": [1, 3, 5], "expand_ratio": 2, "channels": 6, "stride": 2},
        {"name": "keep", "op": "mbconv", "kernel_size": [3, 5], "expand_ratio": 2, "channels": 6, "skip": True},
        {"name": "classifier", "op": "classifier"},
    ],
}


@register("plain")
def plain(in_channels: int, out_channels: int, stride: int, *, kernel_size: int) -> nn.Module:
    """Build a convolution with ReLU and no batch norm: what one image gives does not depend on the others."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2)
    return nn.Sequential(conv, nn.ReLU())


@register("dropping")
def dropping(in_channels: int, out_channels: int, stride: int, *, kernel_size: int) -> nn.Module:
    """Build a convolution with batch norm and dropout: an own operator that draws."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
    return nn.Sequential(conv, nn.Dropout(0.2), nn.BatchNorm2d(out_channels))


def tiny_space(op: str = "mbconv", blocks: int = 1, **changes: object) -> Space:
    """Return the tiny space: 3 candidates, then `blocks` times 3 with Zero; `plain` for one without batch norm."""
    definition = {**TINY, **changes}
    rows = [dict(row) for row in TINY["rows"]]
    rows[2]["blocks"] = blocks
    if op != "mbconv":
        for row in rows[:3]:
            row.pop("expand_ratio", None)
            row["op"] = op
    return read_space({**definition, "rows": rows}, "tiny")


def tiny_supernet(space: Space | None = None, seed: int = 0) -> Supernet:
    """Return a supernet in float64."""
    return Supernet(space or tiny_space(), seed=seed).double()


def tiny_costs(space: Space) -> CostTable:
    """Return MACs in thousands as if they were milliseconds."""
    macs = macs_table(space)
    rows = tuple(tuple(cost / 1000 for cost in row) for row in macs.candidates)
    return CostTable("tiny-target", "ms", macs.fixed / 1000, rows)


def tiny_batch(size: int = 8, key: int = 0, space: Space | None = None) -> tuple[Tensor, Tensor]:
    """Return images and labels; the label is a fixed linear function of the image."""
    shape, num_classes = (space.input_size, space.num_classes) if space else ((2, 6, 6), 3)
    images = torch.randn(size, *shape, generator=generator("images", key), dtype=torch.float64)
    weights = torch.randn(num_classes, images[0].numel(), generator=generator("teacher"), dtype=torch.float64)
    return images, (images.flatten(1) @ weights.T).argmax(1)


class TinyData:
    """Batches as pure functions of (split, number), sliced by rank."""

    def __init__(self, space: Space | None = None, dtype: torch.dtype = torch.float64) -> None:
        self.space, self.dtype = space, dtype

    def batches(
        self, split: str, batch_size: int, *, start: int = 0, rank: int = 0, num_ranks: int = 1
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batch `start`, `start + 1`, ... without end."""
        offset = {"train": 0, "validation": 1_000_000, "test": 2_000_000}[split]
        while True:
            images, labels = tiny_batch(batch_size, offset + start, self.space)
            here = slice(rank * batch_size // num_ranks, (rank + 1) * batch_size // num_ranks)
            yield images[here].to(self.dtype), labels[here]
            start += 1

    def once(self, split: str, batch_size: int, *, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield 64 images, or `limit`."""
        stream = self.batches(split, batch_size)
        for _ in range(-(-(limit or 64) // batch_size)):
            yield next(stream)


def all_paths_of(space: Space) -> list[Path]:
    """Return every path of a tiny space."""
    return [
        tuple(p) for p in torch.cartesian_prod(*(torch.arange(len(x.candidates)) for x in space.positions)).tolist()
    ]
