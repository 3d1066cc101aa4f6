"""Which paths a weight step trains, so that one set of weights ranks them all. Pure functions of seed and step.

Why apart from `weights`: these are the rules of fairness between paths; how a path is trained is not their matter.
"""

from typing import Annotated, Literal

import pydantic
import torch
from pydantic import Field, Strict
from torch import Tensor

from supernet.cost import macs_table
from supernet.gates import sample_path
from supernet.plain import STRICT, Count, Flag, Positive, Share
from supernet.rng import generator
from supernet.space import Path, Space
from supernet.training import Momentum


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class SharingSettings:
    """How paths share one set of weights. The defaults are one path a step, drawn independently, and plain SGD.

    Attributes:
        order: `uniform` draws every candidate independently (Guo et al. 2020, arXiv 1904.00420); `fair` walks
            through permutations of each position's candidates, so that all of them are trained equally often
            within a round (Chu et al. 2019, arXiv 1907.01845, strict fairness); `spread` draws a taste for each size
            of candidate first and the path by it, so that small, large and uniform paths are as common as mixed ones
            (a Polya urn; each candidate still is as probable as the others). Drawn independently, nearly all paths
            are mixed, and the rest is underrated. Both are for a warm-up: a search draws by probability.
        num_paths: Drawn paths of a step; each has its share of the batch, and the weights move once. With `fair`
            and as many paths as candidates, a step is FairNAS's; differs: theirs trains each on the whole batch.
        sandwich: The largest and the smallest path (by MACs) join every step, each with its share of the batch (Yu
            and Huang 2019, arXiv 1903.05134, sandwich rule; there each path trains on the whole batch).
        distillation: Share of the largest path's outputs, beside the labels, in what the other paths of a sandwich
            learn (in-place distillation of the same source, which uses 1). The largest path runs once more for it,
            without a graph.
        candidate_rate: Factor on the learning rate of candidates. One that is drawn in a third of the steps moves a
            third as often as the stem (lead: arXiv 2503.10740, momentum and rates per operation group).
        candidate_momentum: Momentum of candidates, where it should not be `momentum`: what is drawn in a third of
            the steps remembers gradients of three times as many steps ago.
        zero_init_residual: Fresh blocks beside a shortcut begin as if they were dropped (Goyal et al. 2017, arXiv
            1706.02677). All paths begin alike then, and deep ones do not have to unlearn what untrained blocks add. It
            holds where a supernet is made, in a sweep's warm-up or by `Supernet(zero_init_residual=True)`.
        average: Decay per step of an exponential average of the weights, which replaces them after the last step;
            0 for none.
    """

    order: Literal["uniform", "fair", "spread"] = "uniform"
    num_paths: Count = 1
    sandwich: Flag = False
    distillation: Share = 0.0
    candidate_rate: Annotated[Positive, Field(le=100)] = 1.0
    candidate_momentum: Momentum | None = None
    zero_init_residual: Flag = True
    average: Annotated[float, Strict(), Field(ge=0, lt=1)] = 0.0

    @pydantic.model_validator(mode="after")
    def _has_a_teacher(self) -> "SharingSettings":
        if self.distillation and not self.sandwich:
            raise ValueError(
                f"distillation {self.distillation}: the teacher is the sandwich's largest path; set sandwich"
            )
        return self

    @property
    def num_shares(self) -> int:
        """Paths of a step, and so the least number of images that a rank's batch must have."""
        return self.num_paths + 2 * self.sandwich


class PathSchedule:
    """Says which paths each step trains.

    Args:
        space: Where paths are drawn.
        settings: The rule.
        seed: Of the draws.
    """

    def __init__(self, space: Space, settings: SharingSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.macs = macs_table(space).matrix if settings.sandwich or settings.order == "spread" else torch.empty(0)

    def paths(self, step: int, probs: Tensor) -> list[Path]:
        """Return the paths of a step, the same on every rank; with the sandwich rule the largest is first.

        Args:
            step: Index of the step.
            probs: Distribution of paths, shape (num_positions, max_candidates); candidates with probability 0 are
                never used. `fair` looks at nothing else of it.
        """
        count = self.settings.num_paths
        if self.settings.order == "fair":
            drawn = [fair_path(probs > 0, self.seed, step * count + i) for i in range(count)]
        else:
            draws = generator(self.seed, "path", step)
            spread = self.settings.order == "spread"
            drawn = [sample_path(tasteful(probs, self.macs, draws) if spread else probs, draws) for _ in range(count)]
        if not self.settings.sandwich:
            return drawn
        gone = probs <= 0
        largest = tuple(self.macs.masked_fill(gone, -torch.inf).argmax(1).tolist())
        smallest = tuple(self.macs.masked_fill(gone, torch.inf).argmin(1).tolist())
        return [largest, smallest, *drawn]


def tasteful(probs: Tensor, macs: Tensor, draws: torch.Generator) -> Tensor:
    """Return the distribution of one path that has a random taste for small, middling and large candidates.

    Where all candidates are as probable, tastes follow a Dirichlet distribution with ones: all ways of having so many
    small, so many middling and so many large candidates are then as common.

    Args:
        probs: Shape (num_positions, max_candidates).
        macs: What makes candidates small or large, of the same shape.
        draws: Source of the draw.
    """
    alive = probs > 0
    order = macs.masked_fill(~alive, torch.inf).argsort(1).argsort(1)
    last = (alive.sum(1, keepdim=True) - 1).clamp_min(1)
    sizes = (order.clamp_max(last) * (probs.shape[1] - 1) / last).round().long()
    taste = -torch.rand(probs.shape[1], generator=draws, dtype=torch.float64).clamp_min(1e-300).log()
    tilted = probs * taste[sizes]
    return tilted / tilted.sum(1, keepdim=True)


def fair_path(alive: Tensor, seed: int, number: int) -> Path:
    """Return path `number` of the endless fair order: per position, one random permutation after the other.

    Args:
        alive: Candidates in use, bool, shape (num_positions, max_candidates).
        seed: Of the permutations.
        number: Place in the order.
    """
    path = []
    for position, row in enumerate(alive):
        candidates = row.nonzero().flatten()
        turn, place = divmod(number, len(candidates))
        order = torch.randperm(len(candidates), generator=generator(seed, "fair", position, turn))
        path.append(int(candidates[order[place]]))
    return tuple(path)
