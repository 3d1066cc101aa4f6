"""From architecture parameters to one network: named strategies propose paths, measuring decides whether they hold.

Why here: the rules of picking stand in one place. How a path is judged (accuracy) and how it is measured (cost on
the device) is passed in; nothing here knows data, devices or files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor

from supernet.cost import CostTable
from supernet.plain import STRICT, Count, Positive
from supernet.proposals import candidates_within, most_probable, most_probable_within
from supernet.space import Path

NUM_ATTEMPTS = 3
"""How often paths are proposed: within the budget, and twice within one lowered by what was measured over it."""

NUM_MEASURED = 3
"""Paths of an attempt that are measured, best first: a measurement takes seconds, and later ones are worse."""

MIN_EXCESS = 1.005
"""A further attempt asks for at least this much less: what was measured over the budget by a hair must move too."""

StrategyName = Literal["judged", "most-probable"]


@checked(frozen=True, config=STRICT)
class DeriveSettings:
    """How one network is picked at the end of a search.

    Attributes:
        strategy: `judged` draws paths close under the budget and takes the one with the least validation loss;
            `most-probable` takes the most probable path within the budget and judges none.
        num_candidates: Paths that are judged.
        slack: Judged paths cost between (1 - slack) and 1 times the budget.
        recalibration_batches: Training batches for batch-norm statistics before a path is judged.
        max_validation_images: At most this many images judge a path.
    """

    strategy: StrategyName = "judged"
    num_candidates: Annotated[Count, Field(le=100_000)] = 8
    slack: Annotated[Positive, Field(lt=1)] = 0.1
    recalibration_batches: Count = 10
    max_validation_images: Count = 10_000


@dataclass(frozen=True)
class Judged:
    """A path and what validation says of it.

    Attributes:
        path: The path.
        top1: On the validation split, 0..1.
        loss: Mean cross-entropy on the same images.
    """

    path: Path
    top1: float
    loss: float


@dataclass(frozen=True)
class Derived:
    """What was picked, and what it was picked from.

    Attributes:
        path: The path that becomes the network.
        judged: All paths that were judged, in that order.
        measured: Measured cost by path, in the table's unit, for those that were measured.
    """

    path: Path
    judged: tuple[Judged, ...]
    measured: dict[Path, float]


class Derivation:
    """One question: which path of a distribution becomes the network within a budget.

    Args:
        probs: Shape (num_positions, max_candidates).
        costs: Costs of the same space.
        budget: Limit in the unit of `costs`; None for none.
        judge: From a path to (top-1, loss), for instance `specialise.path_judge`.
        draws: From the number of an attempt to the source of its draws.
        measure: From a path to its measured cost in the unit of `costs`; None believes the table.
        settings: How to pick.
        tell: Called with what is done, how often it was and will be: ("judge", 3, 8).
    """

    def __init__(
        self,
        probs: Tensor,
        costs: CostTable,
        budget: float | None,
        judge: Callable[[Path], tuple[float, float]],
        draws: Callable[[int], torch.Generator],
        *,
        measure: Callable[[Path], float] | None = None,
        settings: DeriveSettings | None = None,
        tell: Callable[[str, int, int], None] = lambda what, step, num_steps: None,
    ) -> None:
        self.probs, self.costs, self.budget, self.draws = probs.detach(), costs, budget, draws
        self.settings = settings or DeriveSettings()
        self._judge, self._measure, self._tell = judge, measure or costs.total, tell
        self.judged: dict[Path, Judged] = {}
        self.measured: dict[Path, float] = {}

    def judge(self, paths: Sequence[Path]) -> list[Judged]:
        """Return what validation says of paths, in their order; each is judged once."""
        for number, path in enumerate(paths):
            self._tell("judge", number, len(paths))
            if path not in self.judged:
                self.judged[path] = Judged(path, *self._judge(path))
        return [self.judged[path] for path in paths]

    def measure(self, path: Path) -> float:
        """Return the measured cost of a path; each is measured once."""
        if path not in self.measured:
            self._tell("measure", len(self.measured), 0)
            self.measured[path] = self._measure(path)
        return self.measured[path]


Strategy = Callable[[Derivation, float | None, torch.Generator], list[Path]]
"""(question, limit asked of the table, source of draws) -> paths within the limit, best first."""


def judged(question: Derivation, limit: float | None, draws: torch.Generator) -> list[Path]:
    """Draw paths close under the limit and rank them by validation loss.

    Not by top-1: on as many images the loss ranks networks better (rank correlation with their final accuracy 0.58
    against 0.53), for it moves with every image and top-1 in steps.
    """
    settings = question.settings
    paths = candidates_within(question.probs, question.costs, limit, settings.num_candidates, draws, settings.slack)
    return [found.path for found in sorted(question.judge(paths), key=lambda found: found.loss)]


def most_probable_only(question: Derivation, limit: float | None, draws: torch.Generator) -> list[Path]:
    """Return the most probable path within the limit; nothing is judged."""
    if limit is None:
        return [most_probable(question.probs)]
    return [most_probable_within(question.probs, question.costs, limit)]


STRATEGIES: dict[StrategyName, Strategy] = {"judged": judged, "most-probable": most_probable_only}


def pick(question: Derivation) -> Derived:
    """Return the best proposed path whose measured cost keeps the budget.

    Where none of those measured does, the limit asked of the table is lowered by the largest excess seen, and once
    more. If that fails too, the cheapest measured one is returned: the caller sees that it is over.

    Raises:
        InputError: If no path fits the budget.
    """
    propose, budget, costs = STRATEGIES[question.settings.strategy], question.budget, question.costs
    limit = budget
    for attempt in range(NUM_ATTEMPTS):
        ranked = propose(question, limit, question.draws(attempt))
        if budget is None:
            return _derived(question, ranked[0])
        for path in ranked[:NUM_MEASURED]:
            if question.measure(path) <= budget:
                return _derived(question, path)
        excess = max(question.measure(path) / costs.total(path) for path in ranked[:NUM_MEASURED])
        limit = max(budget / max(excess, MIN_EXCESS), costs.minimum)
    return _derived(question, min(question.measured, key=question.measured.__getitem__))


def _derived(question: Derivation, path: Path) -> Derived:
    return Derived(path, tuple(question.judged.values()), dict(question.measured))
