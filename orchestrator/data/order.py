"""The order of a split's samples: a pure function of (seed, epoch), drawn a window of row groups at a time.

Why here: a reader anywhere in an epoch draws what it reads and no more, so its memory does not grow with the data set.
Only numbers.
"""

from functools import lru_cache

import numpy as np

from orchestrator.data.keys import Indices

WINDOW_GROUPS = 8
Sizes = tuple[int, ...]


def ordered(seed: int, epochs: Indices, within: Indices, stream: int, group_sizes: Sizes) -> Indices:
    """Return which samples stand at some places of some epochs.

    Row groups are permuted, then samples within windows of `WINDOW_GROUPS` groups, so that a reader never needs more
    than a window (at the border of two, two windows) in memory. Rows were shuffled when they were written.

    Args:
        seed: Seed of the run.
        epochs: Number of the epoch of each, shape (n,).
        within: Its place in that epoch, shape (n,).
        stream: Number of the split, so that splits do not share an order.
        group_sizes: Rows of each row group.

    Returns:
        Indices of samples, shape (n,); over all places of an epoch, each of 0 ... sum(group_sizes) - 1 once.
    """
    found = np.empty_like(within)
    for epoch in np.unique(epochs).tolist():
        _, ends = _groups(seed, epoch, stream, group_sizes)
        windows = np.searchsorted(ends, within, side="right")
        for number in np.unique(windows[epochs == epoch]).tolist():
            chosen = (epochs == epoch) & (windows == number)
            window = _window(seed, epoch, stream, group_sizes, number)
            found[chosen] = window[within[chosen] - ends[number] + len(window)]
    return found


@lru_cache(maxsize=4)
def _groups(seed: int, epoch: int, stream: int, group_sizes: Sizes) -> tuple[Indices, Indices]:
    """Return the order of the row groups, and where each window of them ends."""
    order = np.random.default_rng([seed, epoch, stream]).permutation(len(group_sizes))
    sizes = np.array(group_sizes, np.int64)[order]
    return order, np.cumsum(np.add.reduceat(sizes, np.arange(0, len(sizes), WINDOW_GROUPS)))


@lru_cache(maxsize=8)  # a batch needs two at most, of training and of validation images
def _window(seed: int, epoch: int, stream: int, group_sizes: Sizes, number: int) -> Indices:
    """Return the samples of a window, in order. The array is shared: do not write to it."""
    order, _ = _groups(seed, epoch, stream, group_sizes)
    starts = np.concatenate([[0], np.cumsum(group_sizes)])
    groups = order[number * WINDOW_GROUPS : (number + 1) * WINDOW_GROUPS].tolist()
    rows = np.concatenate([np.arange(starts[group], starts[group + 1]) for group in groups])
    return np.random.default_rng([seed, epoch, stream, 1 + number]).permutation(rows)
