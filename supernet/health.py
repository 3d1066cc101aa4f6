"""Whether a search is still healthy: numbers of the distribution over paths, and when to give up.

Why here: a collapsed search goes on silently and delivers nonsense; it has to end as failed, with its reason. One that
learnt nothing ends well, with a network like any other; it has to say so. Nothing here trains or samples.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from supernet.errors import RunError
from supernet.objective import Objective
from supernet.space import Space

MAX_SKIP_SHARE = 0.98
"""Above it a search is all skips: nearly nothing but Zero where Zero is allowed."""

SEVERAL = 3
"""Of fewer positions that allow Zero, all may rightly be skipped: one or two blocks are soon of no use."""

UNMOVED = 0.98
"""Above this share of its entropy at the start alpha is where it was: of 6 candidates, 5.8 are still as good."""

UNDECIDED = 0.75
"""Above this share noise alone explains alpha: with labels of no meaning, 200 architecture steps at a rate of 0.05
took 8 to 22 % of the entropy from `one-path` and `two-path` (4 searches on the tests' tiny space). From `reinforce` it
took up to 40 % (2 searches): its noise can pass for learning."""

OVER_BUDGET = 1.05
"""Above this multiple of the budget it was not reached: the multiplier swings the expected cost of a healthy search by
5 % about it (0.95 and 1.01 at the end of two such searches)."""


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


def check_loss(place: str, loss: Tensor) -> None:
    """Raise `RunError` if the loss of a place, such as `step 3`, is not finite; waits for the loss's device."""
    if not bool(torch.isfinite(loss)):
        raise RunError(f"{place}: the loss is {float(loss)}; lower learning_rate or use fp32")


def check_distribution(step: int, probs: Tensor, zero: Tensor, objective: Objective) -> None:
    """Raise `RunError` if alpha is not finite or has collapsed to skips while the objective would pay for more.

    Args:
        step: Index of the step.
        probs: Distribution after it, shape (num_positions, max_candidates).
        zero: Which candidates are Zero, of the same shape.
        objective: Of the search.
    """
    expected_cost = float(objective.costs.expected(probs))
    if not math.isfinite(expected_cost):
        raise RunError(f"step {step}: alpha is not finite; lower arch_learning_rate or use fp32")
    skips = skip_share(probs, zero)
    if skips > MAX_SKIP_SHARE and int(zero.sum()) >= SEVERAL and objective.pays_for_more(probs):
        raise RunError(
            f"step {step}: collapsed to skips (share {skips:.3f}) at an expected cost of "
            f"{objective.costs.told(expected_cost)}; lengthen the warm-up or lower arch_learning_rate"
        )


def unlearnt(
    *,
    entropy: float,
    start_entropy: float,
    expected_cost: float,
    budget: float | None,
    top1s: Sequence[float],
    num_images: int,
    num_classes: int,
) -> list[str]:
    """Return what shows that a search has learnt nothing, or not what was asked; nothing for a healthy one.

    Args:
        entropy: Mean entropy of a position at the end, nats.
        start_entropy: The same where all candidates that are allowed are as probable.
        expected_cost: Of the distribution at the end.
        budget: Limit that was asked for, in the same unit; None for none.
        top1s: Validation accuracy of the derived paths, 0..1; none if they were not judged.
        num_images: Images behind each of them, the same for all.
        num_classes: Classes of these images; with classes of unequal size guessing is better than assumed here.
    """
    found, guess = [], 1 / num_classes
    share = entropy / start_entropy if start_entropy else 0.0
    if share > UNMOVED:
        found.append(f"the search learnt nothing: {share:.1%} of alpha's entropy is left")
    elif share > UNDECIDED and alike_within_error(top1s, num_images):
        found.append(
            f"the search hardly chose: {share:.0%} of alpha's entropy is left, and {num_images} validation images "
            f"do not tell its {len(top1s)} best paths apart"
        )
    if budget is not None and expected_cost > OVER_BUDGET * budget:
        over = expected_cost / budget - 1
        found.append(f"the search did not reach its budget: its expected cost ended {over:.0%} over it")
    if top1s and sum(top1s) / len(top1s) <= guess + 2 * math.sqrt(guess * (1 - guess) / num_images):
        found.append(
            f"the supernet learnt nothing: no derived path is better than guessing among {num_classes} classes"
        )
    return found


def alike_within_error(top1s: Sequence[float], num_images: int) -> bool:
    """Whether accuracies on `num_images` each do not differ by more than chance would have them (chi-square test, 5 %).

    The images are the same for all, so chance differs them less than is assumed: what is called different is.

    Source: homogeneity of binomial shares; quantile by Wilson and Hilferty 1931.
    """
    degrees = len(top1s) - 1
    if degrees < 1:
        return False
    mean = sum(top1s) / len(top1s)
    if mean in (0.0, 1.0):
        return True
    statistic = sum((top1 - mean) ** 2 for top1 in top1s) * num_images / (mean * (1 - mean))
    quantile = degrees * (1 - 2 / (9 * degrees) + 1.645 * math.sqrt(2 / (9 * degrees))) ** 3
    return statistic < quantile
