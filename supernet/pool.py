"""Paths that were judged, and an additive model of what they say: one pool serves every target and budget.

Why here: what a path is worth on shared weights depends on no target and no budget, so one set of judgements tells it
for all of them; and a fit over many ranks better than each judgement alone. It knows neither costs nor how paths are
judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from supernet.proposals import draw_uniform
from supernet.rng import generator
from supernet.space import Path, Space

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-4, 7))
"""Ridge penalties that are tried: from nearly none to more than a hundred judgements' worth."""


@dataclass(frozen=True)
class Judged:
    """A path and what validation images say of it.

    Attributes:
        path: The path.
        top1: Share of images that it classifies rightly, 0..1.
        loss: Mean cross-entropy on the same images. On as many images it ranks networks better than top-1, which
            moves in steps.
    """

    path: Path
    top1: float
    loss: float


@dataclass(frozen=True)
class LossModel:
    """An additive model of the loss of paths: a constant and an effect of each choice.

    Attributes:
        constant: What all paths have in common.
        effects: What a choice adds, shape (num_positions, max_candidates), float64; near 0 for one never seen.
        spread: Lower Cholesky factor of the covariance of the effects' error, shape (d, d), d effects in a row.
        left_out: What is predicted of each judged path by a model of all the others, in the order of the pool.
        error: Root mean square of what these predictions miss.
    """

    constant: float
    effects: Tensor
    spread: Tensor
    left_out: tuple[float, ...]
    error: float

    def loss(self, path: Path) -> float:
        """Return the loss that is expected of a path."""
        return self.constant + float(self.effects[torch.arange(len(path)), torch.tensor(path)].sum())

    def draw(self, draws: torch.Generator) -> Tensor:
        """Return effects as they might be as well, by what the judged paths leave open; shape as `effects`."""
        noise = torch.randn(len(self.spread), generator=draws, dtype=torch.float64)
        return self.effects + (self.spread @ noise).view_as(self.effects)


def pool_paths(space: Space, count: int, seed: int) -> list[Path]:
    """Return the distinct paths of a pool, evenly drawn: fewer than `count` where the space has hardly as many."""
    counts = [len(position.candidates) for position in space.positions]
    usable = torch.arange(max(counts)) < torch.tensor(counts).view(-1, 1)
    return draw_uniform(usable, count, generator(seed, "pool"))


def fit_losses(pool: Sequence[Judged], num_candidates: Sequence[int]) -> LossModel:
    """Fit the additive model by ridge regression, with the penalty that predicts left-out paths best.

    Args:
        pool: At least two judged paths.
        num_candidates: Candidates of each position.

    Source: Golub, Heath and Wahba 1979 for leaving one out in closed form; posterior of Bayesian linear regression.
    """
    width = max(num_candidates)
    chosen = torch.tensor([found.path for found in pool]) + width * torch.arange(len(num_candidates))
    x = torch.zeros(len(pool), width * len(num_candidates), dtype=torch.float64).scatter_(1, chosen, 1.0)
    y = torch.tensor([found.loss for found in pool], dtype=torch.float64)
    middle, mean = x.mean(0), y.mean()
    u, s, vt = torch.linalg.svd(x - middle, full_matrices=False)

    def left_out(penalty: float) -> Tensor:
        hat = u * (s.square() / (s.square() + penalty))
        leverage = 1 / len(pool) + (hat * u).sum(1)
        missed: Tensor = (y - mean - hat @ (u.T @ y)) / (1 - leverage).clamp_min(1e-9)
        return missed

    penalty = min(PENALTIES, key=lambda value: float(left_out(value).square().mean()))
    misses = left_out(penalty)
    effects = vt.T @ (s / (s.square() + penalty) * (u.T @ y))
    precision = (x - middle).T @ (x - middle) + penalty * torch.eye(x.shape[1], dtype=torch.float64)
    error = float(misses.square().mean().sqrt())
    return LossModel(
        constant=float(mean - middle @ effects),
        effects=effects.view(len(num_candidates), width),
        spread=error * torch.linalg.cholesky(torch.linalg.inv(precision)),
        left_out=tuple((y - misses).tolist()),
        error=error,
    )
