"""Whether a search is still healthy: numbers of the distribution over paths, and when to give up.

Why here: a collapsed search goes on silently and delivers nonsense; it has to end as failed, with its reason.
Nothing here trains or samples.
"""

import math

import torch
from torch import Tensor

from supernet.errors import RunError
from supernet.objective import Objective
from supernet.space import Space

MAX_SKIP_SHARE = 0.98
"""Above it a search is all skips: nearly nothing but Zero where Zero is allowed."""


def zero_mask(space: Space, width: int) -> Tensor:
    """Return which candidates are Zero, bool, shape (num_positions, width)."""
    rows = [[op.name == "zero" for op in position.candidates] for position in space.positions]
    return torch.tensor([[*row, *[False] * (width - len(row))] for row in rows], dtype=torch.bool).view(-1, width)


def mean_entropy(probs: Tensor) -> float:
    """Return the mean entropy of a position in nats; `probs` has shape (num_positions, max_candidates)."""
    return float(torch.special.entr(probs).sum(1).mean()) if len(probs) else 0.0


def skip_share(probs: Tensor, zero: Tensor) -> float:
    """Return the mean probability of Zero over the positions that have it, 0 where none has."""
    return float((probs * zero).sum() / zero.sum().clamp_min(1))


def check_loss(step: int, loss: Tensor) -> None:
    """Raise `RunError` if the loss is not finite; waits for the loss's device."""
    if not bool(torch.isfinite(loss)):
        raise RunError(f"step {step}: the loss is {float(loss)}; lower learning_rate or use fp32")


def check_distribution(step: int, expected_cost: float, skips: float, objective: Objective) -> None:
    """Raise `RunError` if alpha is not finite or has collapsed to skips while the objective would pay for more."""
    if not math.isfinite(expected_cost):
        raise RunError(f"step {step}: alpha is not finite; lower arch_learning_rate or use fp32")
    if skips > MAX_SKIP_SHARE and objective.pays_for_more(expected_cost):
        raise RunError(
            f"step {step}: collapsed to skips (share {skips:.3f}) at an expected cost of {expected_cost:.4g} "
            f"{objective.costs.unit}; lengthen the warm-up or lower arch_learning_rate"
        )
