"""Which paths of a distribution are worth a look: the most probable within a budget, exactly, and draws close under it.

Why here: the argmax of each position overshoots a budget or leaves it unused although the expected cost
meets it. Probabilities and cost tables are all that is known here; which one is taken is `derive`'s matter.
"""

import math

import numpy as np
import torch
from torch import Tensor

from supernet.cost import CostTable, add_up
from supernet.errors import InputError
from supernet.knapsack import best_within_all, bound_within_all, in_use
from supernet.limits import NO_LIMITS, Limits
from supernet.space import Path

NUM_PROPOSALS, PROPOSED_FOR = 4096, 100
"""Paths that are proposed at once, and how many wanted ones that is for: for twice as many, twice if need be."""


def most_probable_within(probs: Tensor, costs: CostTable, budget: float, limits: Limits = NO_LIMITS) -> Path:
    """Return the most probable path whose total cost does not exceed the budget, see `best_within`."""
    return best_within(probs.detach().double().log(), costs, budget, limits)


def best_within(scores: Tensor, costs: CostTable, budget: float, limits: Limits = NO_LIMITS) -> Path:
    """Return the path with the largest sum of scores whose total cost does not exceed the budget.

    Exact: the set of partial paths that no other partial path beats in both cost and score is carried from position
    to position (multiple-choice knapsack, Nemhauser and Ullmann 1969), no rounding of costs. Costs are added in the
    order of `CostTable.total`, so the result's total keeps the budget to the last bit. The set stays small unless
    scores rise exactly with costs; for the dearest path there is `most_cost`.

    Args:
        scores: Shape (num_positions, max_candidates); candidates at -inf are not used.
        costs: Costs of the same space.
        budget: Limit in the unit of `costs`; infinite for none.
        limits: Kept as well, see `knapsack.best_within_all`.

    Raises:
        InputError: If no path of candidates in use fits.
    """
    if limits.forbidden:
        scores = scores.detach().double().cpu().masked_fill(limits.mask(scores.shape), -math.inf)
    if limits.sums:
        asked = [(costs, budget)] if budget < math.inf else []
        return best_within_all(scores, [*asked, *((limit.costs, limit.most) for limit in limits.sums)])
    front_cost, _, history = _unbeaten(scores, costs, budget)
    state, path = len(front_cost) - 1, []
    for parents, choices in reversed(history):
        path.append(int(choices[state]))
        state = int(parents[state])
    return tuple(reversed(path))


def most_cost(costs: CostTable, limits: Limits = NO_LIMITS, usable: Tensor | None = None) -> float:
    """Return a cost that no path exceeds: that of the dearest one, or under limits on sums a close bound.

    Not `best_within` with costs for scores: then no partial path beats another, and all of them are carried.

    Args:
        costs: What is counted.
        limits: That paths keep.
        usable: Bool, shape (num_positions, max_candidates): candidates that paths take; None for all.

    Raises:
        InputError: If a position has no candidate that paths may take.
    """
    barred = limits.mask(costs.matrix.shape)
    if usable is not None:
        barred |= ~usable.cpu()
    scores = costs.matrix.masked_fill(barred, -math.inf)
    _, used = in_use(scores, costs)
    most = add_up(costs.fixed, [max(row[j] for j in js) for row, js in zip(costs.candidates, used, strict=True)])
    if not limits.sums:
        return most
    return min(most, costs.fixed + bound_within_all(scores, [(limit.costs, limit.most) for limit in limits.sums]))


def best_front(scores: Tensor, costs: CostTable) -> tuple[np.ndarray, np.ndarray]:
    """Return costs and scores of the best paths within all budgets, see `best_within`; both rise.

    Returns:
        Two arrays of shape (num_paths,): the paths that no other beats in both cost and score, cheapest first.
    """
    front_cost, front_score, _ = _unbeaten(scores, costs, math.inf)
    return front_cost, front_score


def _unbeaten(
    scores: Tensor, costs: CostTable, budget: float
) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Return costs and scores of unbeaten paths, and per position the parents and choices that lead to them."""
    points, used = in_use(scores, costs)
    least = [min(row[j] for j in js) for row, js in zip(costs.candidates, used, strict=True)]
    rest = np.concatenate([np.cumsum(least[::-1])[::-1], [0.0]])
    last = len(costs.candidates) - 1
    front_cost, front_score = np.array([costs.fixed]), np.array([0.0])
    history: list[tuple[np.ndarray, np.ndarray]] = []
    for i, row in enumerate(costs.candidates):
        js = used[i]
        cost = (front_cost[:, None] + np.array([row[j] for j in js])[None]).ravel()
        score = (front_score[:, None] + points[i, js][None]).ravel()
        order = np.lexsort((-score, cost))
        order = order[cost[order] + rest[i + 1] <= (budget if i == last else budget * (1 + 1e-12))]
        if not len(order):
            raise InputError(
                f"budget {costs.told(budget)} on {costs.name}: the cheapest remaining path takes "
                f"{costs.told(costs.fixed + sum(least))}"
            )
        best = np.maximum.accumulate(score[order])
        keep = order[np.concatenate([[True], best[1:] > best[:-1]])]
        history.append((keep // len(js), js[keep % len(js)]))
        front_cost, front_score = cost[keep], score[keep]
    return front_cost, front_score, history


def draw_close(
    probs: Tensor, costs: CostTable, low: float, high: float, count: int, generator: torch.Generator
) -> list[Path]:
    """Draw paths from `probs` given that their cost lies in [low, high], independently of each other.

    Exact rejection sampling: paths are proposed from p_j * exp(-mu * cost_j), with mu chosen so that their mean
    cost is in the window, as near to the mean under `probs` as it can be, and accepted with the ratio of that
    factor at the window's worst end to the path's own.

    Args:
        probs: Shape (num_positions, max_candidates).
        costs: Costs of the same space.
        low: Lower end of the window, in the unit of `costs`.
        high: Upper end of the window.
        count: How many paths are proposed.
        generator: Source of the draws.

    Returns:
        The accepted paths in the order they were drawn; a path may occur more than once.
    """
    p = probs.detach().double().cpu()
    mean = min(max(float(costs.expected(p)), low), high)
    mu, tilted = _tilt(p, costs.matrix, mean - costs.fixed)
    draws = torch.multinomial(tilted, count, replacement=True, generator=generator)  # (num_positions, count)
    totals = costs.fixed + costs.matrix.gather(1, draws).sum(0)
    accept = torch.exp(mu * (totals - (high if mu > 0 else low)))
    kept = torch.rand(count, generator=generator, dtype=torch.float64) < accept
    paths: list[Path] = list(map(tuple, draws[:, kept & (totals >= low) & (totals <= high)].T.tolist()))
    return [path for path in paths if costs.total(path) <= high]


def _tilt(p: Tensor, table: Tensor, mean: float) -> tuple[float, Tensor]:
    """Return mu and p * exp(-mu * table), normalised, with mu by bisection so that the mean total is `mean`."""

    def tilted(mu: float) -> Tensor:
        return torch.softmax(p.log() - mu * table, dim=1)

    scale = max(float(table.max()), 1e-12)
    low, high = -1e4 / scale, 1e4 / scale
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if float((tilted(middle) * table).sum()) > mean else (low, middle)
    return 0.5 * (low + high), tilted(0.5 * (low + high))


def candidates_within(
    probs: Tensor,
    costs: CostTable,
    budget: float | None,
    count: int,
    generator: torch.Generator,
    slack: float = 0.1,
    limits: Limits = NO_LIMITS,
) -> list[Path]:
    """Return the paths worth judging: drawn from `probs`, and with a budget, close under it.

    Of the paths drawn, the most probable ones are returned. The most probable path within the budget is among
    them where it uses the budget too; the most probable path of all may lie far below. Where nothing is drawn
    within the slack, it is doubled as long as it stays below 1; where that does not help, the most probable path within
    the budget is returned alone. Limits on sums may leave few draws close under the budget: if there are fewer than are
    wanted, paths close under the dearest of them are drawn besides.

    Args:
        probs: Shape (num_positions, max_candidates).
        costs: Costs of the same space.
        budget: Limit that no returned path exceeds; None asks for the most probable path and plain draws.
        count: How many paths at most.
        generator: Source of the draws.
        slack: Close under the budget means a cost from (1 - slack) * budget to the budget; where no remaining path
            reaches the budget, from (1 - slack) times what the dearest may cost, see `most_cost`.
        limits: That every returned path keeps too.

    Raises:
        InputError: If no path with positive probability fits the budget and the limits.
    """
    first = most_probable_within(probs, costs, math.inf if budget is None else budget, limits)
    if budget is None:
        draws = torch.multinomial(probs.detach(), 4 * count, replacement=True, generator=generator)
        kept = [path for path in map(tuple, draws.T.tolist()) if limits.keep(path)]
        return list(dict.fromkeys([first, *kept]))[:count]
    reach = min(budget, most_cost(costs, limits, probs > 0))

    def close(reach: float, slack: float) -> list[Path]:
        low, drawn = (1 - slack) * reach, dict[Path, None]()
        for _ in range(math.ceil(count / PROPOSED_FOR)):
            near = draw_close(probs, costs, low, reach, NUM_PROPOSALS, generator)
            drawn |= dict.fromkeys(path for path in near if limits.keep(path))
            if len(drawn) >= count:
                break
        return [*drawn, *([first] if costs.total(first) >= low else [])]

    drawn, wider = close(reach, slack), 2 * slack
    while not drawn and wider < 1:
        drawn, wider = close(reach, wider), 2 * wider
    if limits.sums and len(set(drawn)) < count:
        reach = max(map(costs.total, drawn), default=reach)
        drawn = [path for path in (*drawn, *close(reach, slack)) if costs.total(path) >= (1 - slack) * reach]
    log_probs = probs.detach().log().tolist()
    # In the order of the draws where they are as probable: in that of their values, all would begin alike.
    distinct = sorted(
        dict.fromkeys(drawn), key=lambda path: -sum(row[j] for row, j in zip(log_probs, path, strict=True))
    )
    return distinct[:count] or [first]
