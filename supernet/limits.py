"""Limits beside the budget: what else a network must not exceed, such as parameters, file size or peak memory.

Why here: objective, search and derivation keep the same ones. It must not know what is counted, nor where a limit comes
from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from supernet.cost import CostTable
from supernet.space import Path


@dataclass(frozen=True)
class Limit:
    """A sum over positions that must not exceed a value.

    Attributes:
        costs: What is summed, and its unit.
        most: The value.
    """

    costs: CostTable
    most: float


@dataclass(frozen=True)
class Limits:
    """All limits of a search beside its budget.

    Attributes:
        sums: Limits on sums.
        forbidden: (position, candidate) that breaks a limit whatever stands at the other positions: a maximum over
            positions, such as peak memory, is kept exactly where none of these is taken.
    """

    sums: tuple[Limit, ...] = ()
    forbidden: tuple[tuple[int, int], ...] = ()

    def keep(self, path: Path) -> bool:
        """Whether a path keeps all of them, to the last bit."""
        taken = set(enumerate(path))
        return taken.isdisjoint(self.forbidden) and all(limit.costs.total(path) <= limit.most for limit in self.sums)

    def mask(self, shape: Sequence[int]) -> Tensor:
        """Return which candidates are forbidden, bool, of shape (num_positions, max_candidates)."""
        mask = torch.zeros(*shape, dtype=torch.bool)
        for position, candidate in self.forbidden:
            mask[position, candidate] = True
        return mask


NO_LIMITS = Limits()
