"""Images of a training step mixed in pairs: mixup and cutmix. Knows no network, and draws from no global generator.

Why not torchvision's: it mixes each image with the one before it in the batch, so what is learnt would depend on how
ranks cut the batch. Here neighbours of the whole batch are mixed with each other, 0 with 1, 2 with 3: ranks that hold
whole pairs (the batch is a multiple of twice the ranks) do together what one would. The image that a cut parts from its
neighbour stays as it is.

Source: mixup, Zhang et al. 2018; cutmix, Yun et al. 2019. One share, and one rectangle, for all pairs of a step.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from supernet.rng import generator

Targets = tuple[tuple[float, Tensor], ...]
"""Labels with the share of the loss that each set has; the shares add up to 1."""


class Mixing(Protocol):
    """What is done to the images of a step."""

    def __call__(self, step: int, first: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        """Return the images to learn from and their labels.

        Args:
            step: Index of the step.
            first: Place of the first image in the batch of all ranks.
            images: Of this rank, shape (N, C, H, W).
            labels: Shape (N,).
        """
        ...


class NoMixing:
    """Leaves images as they are."""

    def __call__(self, step: int, first: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        """See `Mixing`."""
        return images, ((1.0, labels),)


class PairMixing:
    """Mixes neighbours, in each step by mixup or by cutmix, as often one as the other where both are asked for.

    Args:
        mixup: Parameter of the Beta distribution that mixup's shares are drawn from; 0 for no mixup.
        cutmix: The same of cutmix.
        seed: Of what is drawn.
    """

    def __init__(self, mixup: float, cutmix: float, *, seed: int) -> None:
        self.mixup, self.cutmix, self.seed = mixup, cutmix, seed

    def __call__(self, step: int, first: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        """See `Mixing`."""
        draws = np.random.default_rng(generator(self.seed, "mixing", step).initial_seed())
        cuts = bool(self.cutmix) and (not self.mixup or bool(draws.integers(2)))
        alpha = self.cutmix if cuts else self.mixup
        share = float(draws.beta(alpha, alpha))
        others = swapped(images, first)
        if not cuts:
            mixed = images * share + others * (1 - share)
            return mixed, ((share, labels), (1 - share, swapped(labels, first)))
        height, width = images.shape[2:]
        top, bottom = _span(draws, height, share)
        left, right = _span(draws, width, share)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
        cut = (bottom - top) * (right - left) / (height * width)
        return mixed, ((1 - cut, labels), (cut, swapped(labels, first)))


def make_mixing(mixup: float, cutmix: float, *, seed: int) -> Mixing:
    """Return what mixes; nothing where neither is asked for."""
    return PairMixing(mixup, cutmix, seed=seed) if mixup or cutmix else NoMixing()


def swapped(values: Tensor, first: int) -> Tensor:
    """Return the neighbour of each of a rank's values; `first` is the place of the first in the batch of all ranks."""
    begin = first % 2
    pairs = max(0, len(values) - begin) // 2
    end = begin + 2 * pairs
    inner = values[begin:end].reshape(pairs, 2, *values.shape[1:]).flip(1).flatten(0, 1)
    return torch.cat([values[:begin], inner, values[end:]])


def _span(draws: np.random.Generator, length: int, share: float) -> tuple[int, int]:
    """Return the ends of a side that leaves `share` of the area to the image, around a random centre, within it."""
    half, centre = 0.5 * float(np.sqrt(1 - share)) * length, int(draws.integers(length))
    return max(0, int(centre - half)), min(length, int(centre + half))
