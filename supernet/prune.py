"""Successive pruning: candidates that stay improbable are dropped during the search, with their memory.

Why here: the rule looks at probabilities and costs. Removing modules and optimiser state is the loop's work.
"""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from supernet.cost import CostTable, add_up
from supernet.plain import STRICT, Count, Positive, Share


@dataclass(frozen=True, config=STRICT)
class PruneSettings:
    """When a candidate is dropped.

    Attributes:
        threshold: A candidate below this share of its position's uniform probability is improbable.
        start: Fraction of the search before which nothing is dropped.
        patience: How many checks in a row a candidate must be improbable.
        every: Architecture steps between two checks.
    """

    threshold: Annotated[Positive, Field(le=10)] = 0.2
    start: Share = 0.25
    patience: Count = 3
    every: Count = 20

    def idle(self, num_steps: int, stride: int) -> str:
        """Return why nothing could ever be dropped, empty where something could.

        Args:
            num_steps: Steps of the search.
            stride: Steps from one architecture step to the next.
        """
        num_checks = num_steps // (stride * self.every)
        if num_checks < self.patience:
            return (
                f"{num_steps // stride} architecture steps are fewer than every {self.every} times patience "
                f"{self.patience}, so nothing could be dropped; lower one of them, make more steps, or remove this key"
            )
        last = (num_checks * stride * self.every - 1) / num_steps
        if last < self.start:
            return (
                f"start {self.start:g} comes after the last check, at {last:.3g} of the search, so nothing could be "
                "dropped; lower it, or remove this key"
            )
        return ""


class Pruner:
    """Counts how long each candidate has been improbable, and says which ones to drop.

    Attributes:
        strikes: Checks in a row below the threshold, shape (num_positions, max_candidates).
    """

    def __init__(self, settings: PruneSettings, alive: Tensor) -> None:
        self.settings = settings
        self.strikes = torch.zeros(alive.shape, dtype=torch.int64)
        self.num_candidates = alive.sum(1, keepdim=True)

    def check(self, probs: Tensor, alive: Tensor, progress: float) -> Tensor:
        """Return which candidates to drop now.

        Args:
            probs: Shape (num_positions, max_candidates).
            alive: Candidates not dropped yet, same shape.
            progress: Share of the search that is done, 0..1.

        Returns:
            Bool, same shape. The most probable candidate of a position is never in it.
        """
        low = (probs < self.settings.threshold / self.num_candidates) & alive
        low[torch.arange(len(probs)), probs.argmax(1)] = False
        self.strikes = torch.where(low, self.strikes + 1, 0)
        if progress < self.settings.start:
            return torch.zeros_like(low)
        return low & (self.strikes >= self.settings.patience)


def spare_cheapest(doomed: Tensor, alive: Tensor, costs: CostTable, budget: float) -> Tensor:
    """Return `doomed` without the cheapest candidates if nothing within the budget would be left otherwise.

    Args:
        doomed: Candidates about to be dropped, bool, shape (num_positions, max_candidates).
        alive: Candidates not dropped yet, same shape.
        costs: Costs of the same space.
        budget: Limit in the unit of `costs`; some path of `alive` keeps it.
    """
    left = costs.matrix.masked_fill(~alive | doomed, torch.inf).amin(1)
    if add_up(costs.fixed, left.tolist()) <= budget:
        return doomed
    cheapest = costs.matrix.masked_fill(~alive, torch.inf).argmin(1)
    spared = doomed.clone()
    spared[torch.arange(len(doomed)), cheapest] = False
    return spared
