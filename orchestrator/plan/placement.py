"""Where on a front the next point goes: its ends first, then the middle of its widest gap. A pure function of numbers.

Why here: it decides what a night is spent on. It must not know targets, trials, files, nor where its numbers come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

LEAST_GAP = 1e-9
"""Costs that differ by less, as a share, are equal."""


@dataclass(frozen=True)
class Point:
    """A network of a front, expected or found.

    Attributes:
        value: What is asked for: a budget, or a weight of the latency term; above 0.
        cost: What the network takes; above 0.
        quality: Higher is better. Points expected and points found have scales of their own.
    """

    value: float
    cost: float
    quality: float


def next_point(
    expected: Sequence[Point], placed: Sequence[float], found: Sequence[Point], nearest: float
) -> Point | None:
    """Return the expected point that is farthest from all that were placed; None where none is far enough from them.

    The first is the cheapest one, the second then the dearest, and every further one the middle of the widest gap.
    Distances are Euclidean in two axes that both run from 0 to 1 between the ends of the front: quality, and the
    logarithm of the cost, for networks are compared by how many times faster one is, and a table is wrong by a share.

    Points that were found bend the front that was expected, see `_bent`. One that was placed and is not found yet
    counts where it is expected.

    Args:
        expected: What each value that may be asked for leads to, cheapest first; values rise or fall along it.
        placed: Values that were asked for.
        found: What came of those that are finished.
        nearest: Costs of two points differ by at least this share, for instance by what a table may be wrong by.

    Source: Gonzalez 1985, "Clustering to minimize the maximum intercluster distance": the widest gap that is left is at
    most twice that of the best placement of as many points.
    """
    if not placed:
        return expected[0]
    direction = 1.0 if expected[-1].value >= expected[0].value else -1.0
    asked = direction * np.log([point.value for point in expected])
    there = direction * np.log(placed)
    log_cost, quality = _bent(asked, expected, direction, found)
    x, y = _scaled(log_cost), _scaled(quality)
    near = np.abs(log_cost[:, None] - np.interp(there, asked, log_cost)).min(1)
    away = np.hypot(x[:, None] - np.interp(there, asked, x), y[:, None] - np.interp(there, asked, y)).min(1)
    away[near < max(np.log1p(nearest), LEAST_GAP)] = -1.0
    best = int(away.round(9).argmax())  # of gaps that are as wide the cheapest, whatever the rounding
    return expected[best] if away[best] > 0 else None


def _bent(asked: Floats, expected: Sequence[Point], direction: float, found: Sequence[Point]) -> tuple[Floats, Floats]:
    """Return logarithm of cost and quality of the expected points, moved so that the front leads through those found.

    What expectation and finding differ by at the values found is interpolated between them, over the logarithm of the
    value. So a budget that was left unused leaves no gap: all budgets between will be left unused as well. Quality
    takes the scale of what was found as soon as two networks tell it. A dearer network is never the worse one.
    """
    log_cost = np.log([point.cost for point in expected])
    quality = np.array([point.quality for point in expected], float)
    if found:
        found = sorted(found, key=lambda point: direction * point.value)
        at = direction * np.log([point.value for point in found])
        log_cost = log_cost + np.interp(asked, at, np.log([p.cost for p in found]) - np.interp(at, asked, log_cost))
        before, now = np.interp(at, asked, quality), np.array([point.quality for point in found], float)
        if before[-1] > before[0] and now[-1] > now[0]:
            scale = (now[-1] - now[0]) / (before[-1] - before[0])
            moved = now[0] + scale * (quality - before[0])
            quality = moved + np.interp(asked, at, now - (now[0] + scale * (before - before[0])))
    return np.maximum.accumulate(log_cost), np.maximum.accumulate(quality)


def _scaled(values: Floats) -> Floats:
    """Return rising values so that the ends are 0 and 1; all 0 where they are equal."""
    span = values[-1] - values[0]
    return (values - values[0]) / span if span > 0 else np.zeros_like(values)
