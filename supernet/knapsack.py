"""The best path under several sums at once, exactly: milliseconds and parameters and file size.

Why here: with one sum partial paths are ordered and few are worth keeping (`proposals.best_within`); with several they
are not, and a bound has to say which can still win. Scores and sums are all that is known here.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from supernet.cost import CostTable
from supernet.errors import InputError
from supernet.space import Path

Floats = NDArray[np.float64]

BEAM = 2000
"""Partial paths that are followed to find a good path before the exact pass; how many changes no result."""

STEPS, SHRINK = 200, 0.94
"""Subgradient steps towards the least bound, each so much of the length of the last; any multipliers give a bound,
better ones prune more."""


def best_within_all(scores: Tensor, sums: Sequence[tuple[CostTable, float]]) -> Path:
    """Return the path with the largest sum of scores of which no sum exceeds its limit.

    Exact: partial paths are carried from position to position; one is dropped only if it cannot be completed within
    the limits, or if its Lagrangian bound shows that no completion beats a path that is known. Costs are added in the
    order of `CostTable.total`, so the result keeps every limit to the last bit.

    Args:
        scores: Shape (num_positions, max_candidates); candidates at -inf are not used.
        sums: Tables of the same space, each with its limit.

    Raises:
        InputError: If no path of candidates in use keeps all limits.

    Source: multiple-choice knapsack in several dimensions by dynamic programming with bounds (Kellerer, Pferschy and
    Pisinger 2004, sections 9.3 and 11.4).
    """
    used, search = _pass_of(scores, sums)
    best = search.run(BEAM, -math.inf)
    found = search.run(0, search.score(best) if best is not None else -math.inf)
    chosen = found if found is not None else best
    if chosen is None:
        raise InputError(f"no path keeps all limits: {_told(sums, search.costs)}")
    return tuple(int(js[choice]) for js, choice in zip(used, chosen, strict=True))


def bound_within_all(scores: Tensor, sums: Sequence[tuple[CostTable, float]]) -> float:
    """Return a sum of scores that no path within the limits exceeds: the Lagrangian bound, without a path.

    For what `best_within_all` cannot bear: scores that are costs themselves. There every partial path may still win
    by a hair, and none is dropped; how much the best of all has is known closely all the same.

    Args:
        scores: As of `best_within_all`.
        sums: The same; at least one. What is returned means nothing where no path keeps them all.

    Raises:
        InputError: If a position has no candidate in use.
    """
    return _pass_of(scores, sums)[1].most_score


def _pass_of(scores: Tensor, sums: Sequence[tuple[CostTable, float]]) -> tuple[list[NDArray[np.intp]], "_Pass"]:
    """Return the candidates in use of each position, and the pass over them."""
    points, used = in_use(scores, sums[0][0])
    gains = [points[i, js] for i, js in enumerate(used)]
    costs = [np.array([[table.candidates[i][j] for table, _ in sums] for j in js]) for i, js in enumerate(used)]
    fixed, most = np.array([table.fixed for table, _ in sums]), np.array([limit for _, limit in sums])
    return used, _Pass(gains, costs, fixed, most)


def in_use(scores: Tensor, costs: CostTable) -> tuple[Floats, list[NDArray[np.intp]]]:
    """Return the scores as an array, and which candidates of each position are in use.

    Args:
        scores: Shape (num_positions, max_candidates); candidates at -inf are not used.
        costs: A table of the same space.

    Raises:
        InputError: If a position has none.
    """
    points = scores.detach().double().cpu().numpy()
    used = [np.flatnonzero(points[i, : len(row)] > -math.inf) for i, row in enumerate(costs.candidates)]
    for i, js in enumerate(used):
        if not len(js):
            raise InputError(
                f"no path keeps all limits: each of the {len(costs.candidates[i])} candidates at position {i} "
                "(counted from 0) is forbidden, or was dropped; allow more"
            )
    return points, used


def _told(sums: Sequence[tuple[CostTable, float]], costs: Sequence[Floats]) -> str:
    """Name every limit with the least that it could be, were it alone."""
    least = [table.fixed + sum(float(c[:, k].min()) for c in costs) for k, (table, _) in enumerate(sums)]
    return ", ".join(
        f"{table.name} {table.told(limit)} (least: {table.told(low)})"
        for (table, limit), low in zip(sums, least, strict=True)
    )


class _Pass:
    """Partial paths from position to position; choices are indices into the candidates in use."""

    def __init__(self, gains: list[Floats], costs: list[Floats], fixed: Floats, most: Floats) -> None:
        self.gains, self.costs, self.fixed, self.most = gains, costs, fixed, most
        spread = np.sum([cost.max(0) - cost.min(0) for cost in costs], axis=0)
        self.scale = np.where(spread > 0, spread, np.maximum(np.abs(most - fixed), 1.0))
        self._add_conflict()
        least = [cost.min(0) for cost in self.costs]
        self.rest = [*np.cumsum(least[::-1], axis=0)[::-1], np.zeros(len(self.most))]
        self.weights = self._multipliers()
        reduced = [float((gain - cost @ self.weights).max()) for gain, cost in zip(gains, self.costs, strict=True)]
        self.bound = [*np.cumsum(reduced[::-1])[::-1], 0.0]

    @property
    def most_score(self) -> float:
        """What no path within the limits scores more than, with room for rounding."""
        top = float(self.bound[0] + (self.most - self.fixed) @ self.weights)
        return top + 1e-12 * abs(top)

    def score(self, choices: Sequence[int]) -> float:
        """Return the sum of scores of a path."""
        return float(sum(gain[choice] for gain, choice in zip(self.gains, choices, strict=True)))

    def _add_conflict(self) -> None:
        """Add the weighted sum of all that is hardest to keep: where limits contradict each other it says so early."""
        unit = [cost / self.scale for cost in self.costs]
        room = (self.most - self.fixed) / self.scale
        weights = np.full(len(room), 1.0 / len(room))
        hardest, worst = weights, -math.inf
        for step in range(STEPS):
            total = sum(cost[int((cost @ weights).argmin())] for cost in unit)
            value = float(weights @ (total - room))
            if value > worst:
                hardest, worst = weights, value
            excess = (total - room) / math.sqrt(1 + step)
            raised = weights * np.exp(excess - excess.max())  # else far from all limits every one is 0
            weights = raised / raised.sum()
        mixed = hardest / self.scale
        most = float(self.most @ mixed)
        self.costs = [np.column_stack([cost, cost @ mixed]) for cost in self.costs]
        self.fixed = np.append(self.fixed, self.fixed @ mixed)
        self.most = np.append(self.most, most + 1e-9 * (1.0 + abs(most)))
        self.scale = np.append(self.scale, 1.0)

    def _multipliers(self) -> Floats:
        """Return weights of the sums that make the bound small: subgradient steps, scaled by each sum's range.

        Lengths fall geometrically, whatever the size of a subgradient: the bound is piecewise linear in the weights,
        and steps that shrink with the excess came to a stand far from its least where a limit was tight.

        Source: Goffin 1977, convergence rates of subgradient methods.
        """
        scale = self.scale
        height = max(sum(float(gain.max() - gain.min()) for gain in self.gains), 1e-300)
        room = (self.most - self.fixed) / scale
        unit = [cost / scale for cost in self.costs]
        best, least, weights = np.zeros(len(scale)), math.inf, np.zeros(len(scale))
        for step in range(STEPS):
            picks = [int((gain - cost @ weights).argmax()) for gain, cost in zip(self.gains, unit, strict=True)]
            total = sum(cost[pick] for cost, pick in zip(unit, picks, strict=True))
            value = self.score(picks) - float(weights @ (total - room))
            if value < least:
                best, least = weights, value
            over = (total - room) / max(float(np.linalg.norm(total - room)), 1e-300)
            weights = np.maximum(0.0, weights + 4 * height * SHRINK**step * over)
        return np.asarray(best / scale)

    def run(self, width: int, beat: float) -> list[int] | None:
        """Return a path that scores more than `beat`, the best one if `width` is 0; None if there is none.

        Args:
            width: Partial paths that are kept at each position, those of the highest bound; 0 for all.
            beat: What need not be found again.
        """
        score, cost = np.zeros(1), self.fixed[None]
        history: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
        slack = 1e-12 * (abs(beat) if math.isfinite(beat) else 0.0)
        for i, (gain, own) in enumerate(zip(self.gains, self.costs, strict=True)):
            last = i == len(self.gains) - 1
            new_score = (score[:, None] + gain[None]).ravel()
            new_cost = (cost[:, None] + own[None]).reshape(-1, len(self.most))
            allowed = self.most if last else self.most + 1e-12 * np.abs(self.most)
            fits = (new_cost + self.rest[i + 1] <= allowed).all(1)
            top = new_score + self.bound[i + 1] + (self.most - new_cost) @ self.weights
            keep = np.flatnonzero(fits & (top > beat + slack))
            if width and len(keep) > width:
                keep = keep[np.argsort(-top[keep], kind="stable")[:width]]
            if not len(keep):
                return None
            keep = keep[_undominated(new_score[keep], new_cost[keep])] if not width else keep
            history.append((keep // len(gain), keep % len(gain)))
            score, cost = new_score[keep], new_cost[keep]
        state, choices = int(score.argmax()), []
        for parents, picks in reversed(history):
            choices.append(int(picks[state]))
            state = int(parents[state])
        return choices[::-1]


def _undominated(score: Floats, cost: Floats) -> NDArray[np.intp]:
    """Return which partial paths are not equal in every sum to one with as high a score.

    Full dominance in several sums costs more to find than it saves; equal ones come from layers that are alike.
    """
    order = np.lexsort((-score, *cost.T))
    ordered = cost[order]
    first = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(1)])
    return np.sort(order[first])
