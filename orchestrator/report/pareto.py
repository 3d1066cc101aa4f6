"""Which networks are worth having: the front of accuracy against latency, and its size as one number.

Why here: pure functions of arrays, so that the registry, the report and the command line mean the same by "front".
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
    latency, accuracy = _arrays(latency_ms, top1)
    mask = np.zeros(len(latency), bool)
    best = -np.inf
    # Fastest first, of equally fast ones the most accurate first, of equal ones the first: then a point is on the
    # front exactly if it is more accurate than everything before it.
    for i in np.lexsort((np.arange(len(latency)), -accuracy, latency)).tolist():
        if np.isfinite(latency[i]) and accuracy[i] > best:
            mask[i] = True
            best = accuracy[i]
    return mask


def hypervolume(latency_ms: Floats, top1: Floats, reference: tuple[float, float]) -> float:
    """Area between the front and a reference point: what is dominated by some point and better than the reference.

    Args:
        latency_ms: Shape (n,), lower is better.
        top1: Shape (n,), higher is better.
        reference: (latency_ms, top1) of the worst corner; points beyond it count nothing.

    Returns:
        Area in milliseconds times accuracy; 0 if no point is better than the reference. Higher is better.
    """
    latency, accuracy = _arrays(latency_ms, top1)
    slowest, worst = reference
    with np.errstate(invalid="ignore"):
        inside = (latency < slowest) & (accuracy > worst)
    latency, accuracy = latency[inside], accuracy[inside]
    kept = non_dominated(latency, accuracy)
    order = np.argsort(latency[kept])
    latency, accuracy = latency[kept][order], accuracy[kept][order]
    widths = np.append(latency[1:], slowest) - latency
    return float(np.sum(widths * (accuracy - worst)))


def _arrays(latency_ms: Floats, top1: Floats) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    latency, accuracy = np.asarray(latency_ms, np.float64), np.asarray(top1, np.float64)
    if latency.ndim != 1 or latency.shape != accuracy.shape:
        raise ValueError(f"latency_ms {latency.shape} and top1 {accuracy.shape} must be equally long lists of numbers")
    return latency, accuracy
