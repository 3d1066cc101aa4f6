"""Averages of weights over the last steps. Knows no network and no path: parameters by name.

Source: Polyak and Juditsky 1992; the rising decay of the first steps is that of TensorFlow's moving averages.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


class NoAverage:
    """Keeps nothing."""

    def update(self, step: int) -> None:
        """Do nothing."""

    def write_back(self) -> None:
        """Leave the weights as they are."""

    def drop(self, names: Iterable[str]) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""


class ExponentialAverage:
    """Exponential moving average of weights: as much memory again as they take.

    Args:
        weights: What is averaged, live; the average starts there.
        decay: Weight of the past per step; in the first steps it is at most (1 + step) / (10 + step).
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self._weights = {name: weight.detach() for name, weight in weights.items()}  # detached, of the same memory
        self._means = {name: weight.clone() for name, weight in self._weights.items()}

    def update(self, step: int) -> None:
        """Take in the weights as a step left them."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self._means.values()), list(self._weights.values()), 1 - decay)

    def write_back(self) -> None:
        """Replace the weights by their averages."""
        for name, mean in self._means.items():
            self._weights[name].copy_(mean)

    def drop(self, names: Iterable[str]) -> None:
        """Forget weights that are gone."""
        for name in names:
            del self._means[name], self._weights[name]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the live averages by name."""
        return dict(self._means)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for name, mean in state.items():
            self._means[name].copy_(mean)


def make_average(weights: Mapping[str, Tensor], decay: float) -> ExponentialAverage | NoAverage:
    """Return what averages weights; nothing where `decay` is 0."""
    return ExponentialAverage(weights, decay) if decay else NoAverage()
