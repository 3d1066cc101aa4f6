"""Which networks are worth having: the front of accuracy against latency.

Why here: a pure function of arrays, so that the registry, the report and the command line mean the same by "front".
It must not know trials, targets or files.

Lower latency and higher top-1 are better. A point with a value that is not a number is never on the front.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Floats = Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def non_dominated(latency_ms: Floats, top1: Floats) -> Mask:
    """Mark the points that no other point beats.

    A point is dominated if another is no slower and no less accurate, and better in one of the two. Of points equal in
    both, only the first is kept, so that the front has one point per place.

    Args:
        latency_ms: Shape (n,), lower is better.
        top1: Shape (n,), higher is better.

    Returns:
        Booleans of shape (n,).
    """
    latency, accuracy = np.asarray(latency_ms, np.float64), np.asarray(top1, np.float64)
    if latency.ndim != 1 or latency.shape != accuracy.shape:
        raise ValueError(f"latency_ms {latency.shape} and top1 {accuracy.shape} must be equally long lists of numbers")
    mask = np.zeros(len(latency), bool)
    best = -np.inf
    # Fastest first, of equally fast ones the most accurate first, of equal ones the first: then a point is on the
    # front exactly if it is more accurate than everything before it.
    for i in np.lexsort((np.arange(len(latency)), -accuracy, latency)).tolist():
        if np.isfinite(latency[i]) and accuracy[i] > best:
            mask[i] = True
            best = accuracy[i]
    return mask


def knee(cost: Floats, top1: Floats) -> int:
    """Return the index of the point of the front where more accuracy begins to be dear.

    It is the point farthest above the chord that joins the ends of the front, both axes scaled so that the ends are 0
    and 1. A front that bends the other way, or has no more than two points, has its cheapest point for a knee.

    Args:
        cost: Shape (n,), lower is better; at least one point is finite in both.
        top1: Shape (n,), higher is better.

    Source: Satopää et al. 2011, "Finding a Kneedle in a Haystack", section II, without smoothing.
    """
    front = np.flatnonzero(non_dominated(cost, top1))
    x, y = np.asarray(cost, np.float64)[front], np.asarray(top1, np.float64)[front]
    order = np.argsort(x)
    heights = _scaled(y[order]) - _scaled(x[order])
    return int(front[order[int(heights.round(12).argmax())]])


def _scaled(values: Any) -> Any:
    """Return ascending values so that the ends are 0 and 1; one value alone is 0."""
    return (values - values[0]) / max(values[-1] - values[0], np.finfo(np.float64).tiny)
