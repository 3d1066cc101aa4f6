"""The front that a sweep expects of a target before its trials: what each budget, or weight, should lead to.

Why here: points are placed by it. From judged paths and a cost table alone; it must not know trials, files or Ray.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from orchestrator.plan.placement import Point
from supernet.cost import CostTable
from supernet.limits import NO_LIMITS, Limits
from supernet.pool import Judged, fit_losses
from supernet.proposals import best_front, best_within, most_cost

Floats = np.ndarray[Any, np.dtype[np.float64]]

NUM_VALUES = 257
"""Values that may be placed: more than fit between the ends of any table without being nearer than its error."""

TABLE_ERROR = 0.03
"""Costs of two points differ by at least so much where they are predicted milliseconds; counts are exact."""

ROOM = 0.10
"""The lowest budget is so much above the cheapest network: it may be measured so much over its prediction and still be
believed, and a search needs something to choose."""

WEIGHTS = (1e-6, 1e6)
"""What a weight may be."""

LEAST = 1e-12

STEEPEST, FLATTEST = 10.0, 0.01
"""Without judged paths, weights lie between so many times that of a loss which falls evenly from chance to nothing."""


def table_error(costs: CostTable) -> float:
    """Return the share by which the costs of two points must differ to be told apart."""
    return TABLE_ERROR if costs.unit == "ms" else 0.0


def expected_front(
    costs: CostTable,
    pool: Sequence[Judged],
    *,
    weighted: bool,
    reference: float,
    num_classes: int,
    limits: Limits = NO_LIMITS,
) -> list[Point]:
    """Return what the values that may be asked for lead to, cheapest network first.

    The ends of the front are the networks worth having: the cheapest there is, and the cheapest of those that the
    additive model of the judged paths expects the least loss of. Without judged paths the dear end is what the dearest
    network costs (under limits on sums a close bound, see `most_cost`), and nothing is known of quality: it rises with
    the logarithm of the cost. Further limits move the ends; what lies between is expected as if there were none on
    sums.

    Args:
        costs: Of the target.
        pool: Judged paths, or none.
        weighted: Whether values are weights of `add_linear`; otherwise budgets.
        reference: Cost that weights are relative to.
        num_classes: Of the images: what loss guessing has.
        limits: That every network keeps besides.
    """
    known = _known(costs, pool, limits) if pool else None
    if known is None:
        ends = _cost_of_best(costs, -costs.matrix, limits), most_cost(costs, limits)
    else:
        ends = float(known[0][0]), float(known[0][-1])
    if weighted:
        return _of_weights(ends, known, reference, num_classes)
    return _of_budgets(ends, known)


def _cost_of_best(costs: CostTable, scores: Tensor, limits: Limits) -> float:
    """Return what the network of the highest scores costs, of those that keep the limits."""
    return costs.total(best_within(scores, costs, math.inf, limits))


def _known(costs: CostTable, pool: Sequence[Judged], limits: Limits) -> tuple[Floats, Floats]:
    """Return costs and expected losses of the paths that no other beats in both by the model, exactly."""
    model = fit_losses(pool, [len(row) for row in costs.candidates])
    scores = (-model.effects).masked_fill(limits.mask(model.effects.shape), -math.inf)
    found, best = best_front(scores, costs)
    ends = (_cost_of_best(costs, s, limits) for s in (-costs.matrix, scores))
    first, last = (max(0, int(np.searchsorted(found, end, side="right")) - 1) for end in ends)
    return found[first : last + 1], (model.constant - best)[first : last + 1]


def _of_budgets(ends: tuple[float, float], known: tuple[Floats, Floats] | None) -> list[Point]:
    low = ends[0] * (1.0 + ROOM)
    high = max(low, ends[1])
    budgets = sorted({rounded_up(value) for value in np.geomspace(low, high, NUM_VALUES).tolist()})
    if known is None:
        return [Point(budget, budget, math.log(budget)) for budget in budgets]
    found, losses = known
    best = np.searchsorted(found, budgets, side="right") - 1
    return [Point(b, float(found[i]), -float(losses[i])) for b, i in zip(budgets, best.tolist(), strict=True)]


def _of_weights(
    ends: tuple[float, float], known: tuple[Floats, Floats] | None, reference: float, num_classes: int
) -> list[Point]:
    """Return what weights lead to: the path with the least loss + weight * cost / reference, steepest weight first."""
    if known is None:
        even = math.log(num_classes) * reference / max(ends[1] - ends[0], LEAST)
        weights = _weights(STEEPEST * even, FLATTEST * even)
        between = np.geomspace(*ends, len(weights)).tolist()
        return [Point(weight, cost, math.log(cost)) for weight, cost in zip(weights, between, strict=True)]
    found, losses = known
    steep = (losses[0] - losses[1:]) / (found[1:] - found[0]) * reference
    flat = (losses[:-1] - losses[-1]) / (found[-1] - found[:-1]) * reference
    # Beyond these the ends of the front are what is best.
    weights = _weights(1.1 * float(steep.max()), float(flat.min()) / 1.1) if len(found) > 1 else [1.0]
    best = [int((losses + weight * found / reference).argmin()) for weight in weights]
    return [Point(w, float(found[i]), -float(losses[i])) for w, i in zip(weights, best, strict=True)]


def _weights(high: float, low: float) -> list[float]:
    """Return weights from high to low, as far as they may be set."""
    between = np.geomspace(high, low, NUM_VALUES).clip(*WEIGHTS).tolist()
    return sorted({float(f"{value:.4g}") for value in between}, reverse=True)


def rounded_up(value: float) -> float:
    """Return the least number of four digits that is not below a positive value."""
    step = 10.0 ** (math.floor(math.log10(value)) - 3)
    found = float(f"{math.ceil(value / step - LEAST) * step:.4g}")
    return found if found >= value else float(f"{found + step:.4g}")
