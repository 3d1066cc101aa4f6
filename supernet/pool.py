"""Paths that were judged, and an additive model of what they say: one pool serves every target and budget.

Why here: what a path is worth on shared weights depends on no target and no budget, so one set of judgements tells it
for all of them; and a fit over many ranks better than each judgement alone. It knows neither targets nor how paths are
judged.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from supernet.cost import macs_table
from supernet.errors import InputError
from supernet.gates import sample_path
from supernet.rng import generator
from supernet.rows import ZERO
from supernet.sharing import tasteful
from supernet.space import Path, Space

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-4, 7))
"""Ridge penalties that are tried: from nearly none to more than a hundred judgements' worth."""

EMPHASIS, FAR = 0.7, 3.0
"""Logarithm of a path's weight per standard deviation of its loss, and beyond how many it weighs no more."""


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


def pool_paths(space: Space, count: int, seed: int, alive: Tensor | None = None) -> list[Path]:
    """Return the distinct paths of a pool; the first of a longer list are those of a shorter.

    Each is drawn with a taste of its own for small or large candidates (`sharing.tasteful`), so that nearly whole and
    nearly empty networks are as common as mixed ones: what a candidate is worth shows where little else makes up.
    Of equal networks one stands for all, `drops_last`. Models of paths that are drawn evenly rank networks worse, and
    find worse ones (`docs/experiments.md`).

    Args:
        space: Where they are drawn.
        count: How many; fewer where the space has hardly as many.
        seed: Of the draws.
        alive: Candidates that may be used, bool, shape (num_positions, max_candidates); None for all.
    """
    macs, draws = macs_table(space).matrix, generator(seed, "pool")
    counts = torch.tensor([[len(position.candidates)] for position in space.positions])
    usable = torch.arange(macs.shape[1]) < counts if alive is None else alive
    even = usable.double() / usable.sum(1, keepdim=True)

    def standing_for(path: Path) -> Path:
        moved = drops_last(space, path)
        return moved if all(row[choice] for row, choice in zip(usable, moved, strict=True)) else path

    drawn: dict[Path, None] = {}
    for _ in range(4 * count):
        drawn[standing_for(sample_path(tasteful(even, macs, draws), draws))] = None
        if len(drawn) == count:
            break
    return list(drawn)


def drops_last(space: Space, path: Path) -> Path:
    """Return the path of the same network that drops the last ones of a row's blocks, of those that may be dropped.

    What a further block adds to those before it is an effect of its place then. So depth is searched in Cai et al. 2020
    (arXiv 1908.09791).
    """
    moved = list(path)
    for _, group in itertools.groupby(range(len(path)), key=lambda number: space.positions[number].row):
        places = [number for number in group if ZERO in space.positions[number].candidates]
        kept = sorted(places, key=lambda number: space.positions[number].candidates[path[number]] == ZERO)
        for place, number in zip(places, kept, strict=True):
            moved[place] = path[number]
    return tuple(moved)


def fit_losses(pool: Sequence[Judged], num_candidates: Sequence[int]) -> LossModel:
    """Fit the additive model by weighted ridge regression, with the penalty that predicts left-out paths best.

    A path whose loss is a standard deviation higher weighs `exp(EMPHASIS)` times as much: losses of good paths lie near
    each other, and what moves them is the sharing as much as the choices (`docs/experiments.md`).

    Args:
        pool: At least one judged path; one alone says nothing of the choices.
        num_candidates: Candidates of each position.

    Raises:
        InputError: If there is none.

    Source: Golub, Heath and Wahba 1979 for leaving one out in closed form; posterior of Bayesian linear regression.
    """
    if not pool:
        raise InputError("no path was judged that a model could be fitted to; give a pool, or use strategy 'judged'")
    width = max(num_candidates)
    chosen = torch.tensor([found.path for found in pool]) + width * torch.arange(len(num_candidates))
    x = torch.zeros(len(pool), width * len(num_candidates), dtype=torch.float64).scatter_(1, chosen, 1.0)
    y = torch.tensor([found.loss for found in pool], dtype=torch.float64)
    weights = _weights(y)
    middle, mean, roots = weights @ x / len(pool), weights @ y / len(pool), weights.sqrt()
    x, z = roots[:, None] * (x - middle), roots * (y - mean)
    u, s, vt = torch.linalg.svd(x, full_matrices=False)

    def left_out(penalty: float) -> Tensor:
        hat = u * (s.square() / (s.square() + penalty))
        leverage = weights / len(pool) + (hat * u).sum(1)
        missed: Tensor = (z - hat @ (u.T @ z)) / (1 - leverage).clamp_min(1e-9)
        return missed

    penalty = min(PENALTIES, key=lambda value: float(left_out(value).square().mean()))
    weighted = left_out(penalty)
    effects, misses = vt.T @ (s / (s.square() + penalty) * (u.T @ z)), weighted / roots
    precision = x.T @ x + penalty * torch.eye(x.shape[1], dtype=torch.float64)
    return LossModel(
        constant=float(mean - middle @ effects),
        effects=effects.view(len(num_candidates), width),
        spread=weighted.square().mean().sqrt() * torch.linalg.cholesky(torch.linalg.inv(precision)),
        left_out=tuple((y - misses).tolist()),
        error=float(misses.square().mean().sqrt()),
    )


def _weights(losses: Tensor) -> Tensor:
    """Return what judged paths weigh in a fit, with mean 1."""
    far = (losses - losses.mean()) / losses.std(correction=0).clamp_min(1e-9)
    weights = (EMPHASIS * far.clamp(-FAR, FAR)).exp()
    return weights / weights.mean()
