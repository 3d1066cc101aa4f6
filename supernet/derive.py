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
from supernet.limits import NO_LIMITS, Limits
from supernet.plain import STRICT, Count, CountOrNone, Positive
from supernet.pool import Judged, LossModel, fit_losses
from supernet.proposals import best_within, candidates_within, most_probable_within
from supernet.space import Path

NUM_ATTEMPTS = 3
"""How often paths are proposed: within the budget, and twice within one lowered by what was measured over it."""

NUM_MEASURED = 3
"""Paths of an attempt that are measured, best first: a measurement takes seconds, and later ones are worse."""

MIN_EXCESS = 1.005
"""A further attempt asks for at least this much less: what was measured over the budget by a hair must move too."""

NUM_ROUNDS = 3
"""A budget's paths are judged in so many goes: what one says decides where the next one looks."""

OWN_BATCHES = 10
"""Training batches for the statistics of a path, where it has its own."""

MAX_DRAWS = 50
"""Draws of the loss model for each path that is wanted: near the end of a pool most give one that is known."""

StrategyName = Literal["judged", "pool", "judged-pool", "most-probable"]


@checked(frozen=True, config=STRICT)
class DeriveSettings:
    """How one network is picked at the end of a search.

    Attributes:
        strategy: `judged-pool` takes the path of which an additive model of all judged paths, probable ones among them,
            expects the least loss within the budget; `pool` has the model say where to look, whatever is probable;
            `judged` draws paths by probability close under the budget and takes the one with the least validation
            loss; `most-probable` takes the most probable path within the budget and judges none.
        num_candidates: Paths that are judged for a budget, in each attempt to find one that is measured within it.
        pool_size: Paths of all sizes that are judged once for all budgets (`pool`); for strategies with a pool.
        slack: Paths that are drawn by probability cost between (1 - slack) and 1 times the budget; those that a model
            of losses asks for (`pool`, half of `judged-pool`) may cost less.
        recalibration_batches: Training batches that each judged path's own batch-norm statistics are taken from; 0
            judges all by those that they share. None is 0 where that ranks networks better, on the frozen weights of a
            sweep's warm-up that began at zero (`docs/experiments.md`), else 10.
        max_validation_images: At most this many images judge a path. More tell little: what one path's loss misses is
            mostly what sharing does to it, not noise.
    """

    strategy: StrategyName = "judged-pool"
    num_candidates: Annotated[Count, Field(le=100_000)] = 8
    pool_size: Annotated[Count, Field(ge=2, le=100_000)] = 100
    slack: Annotated[Positive, Field(lt=1)] = 0.1
    recalibration_batches: CountOrNone | None = None
    max_validation_images: Count = 2_000

    def own_batches(self, *, shares: bool) -> int:
        """Return `recalibration_batches`, or its default: whether weights share statistics that rank paths better."""
        if self.recalibration_batches is not None:
            return self.recalibration_batches
        return 0 if shares else OWN_BATCHES

    @property
    def uses_pool(self) -> bool:
        """Whether the strategy derives from a pool of judged paths."""
        return self.strategy in ("pool", "judged-pool")


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
        judge: From paths to what validation says of each, for instance `judging.PathJudge`.
        draws: From the number of an attempt to the source of its draws.
        pool: Paths that were judged before, with the same weights on the same images; strategy `pool` needs some.
        measure: From a path to its measured cost in the unit of `costs`; None believes the table.
        limits: That every proposed path keeps, too.
        settings: How to pick.
        tell: Called with what is done, how often it was and will be: ("judge", 3, 8).
    """

    def __init__(
        self,
        probs: Tensor,
        costs: CostTable,
        budget: float | None,
        judge: Callable[[Sequence[Path]], list[Judged]],
        draws: Callable[[int], torch.Generator],
        *,
        pool: Sequence[Judged] = (),
        measure: Callable[[Path], float] | None = None,
        limits: Limits = NO_LIMITS,
        settings: DeriveSettings | None = None,
        tell: Callable[[str, int, int], None] = lambda what, step, num_steps: None,
    ) -> None:
        self.probs, self.costs, self.budget, self.draws = probs.detach(), costs, budget, draws
        self.settings, self.limits = settings or DeriveSettings(), limits
        self._judge, self._measure, self._tell = judge, measure or costs.total, tell
        self.pool = {found.path: found for found in pool}
        self.judged: dict[Path, Judged] = {}
        self.measured: dict[Path, float] = {}

    def judge(self, paths: Sequence[Path]) -> list[Judged]:
        """Return what validation says of paths, in their order; each is judged once."""
        new = [path for path in dict.fromkeys(paths) if path not in self.judged and path not in self.pool]
        if new:
            self._tell("judge", len(self.judged), len(self.judged) + len(new))
            self.judged |= {found.path: found for found in self._judge(new)}
        return [self.judged.get(path) or self.pool[path] for path in paths]

    def usable(self, path: Path) -> bool:
        """Return whether none of a path's candidates was dropped, and it keeps the limits."""
        return all(self.probs[i, j] > 0 for i, j in enumerate(path)) and self.limits.keep(path)

    def fits(self, path: Path, limit: float) -> bool:
        """Return whether a path may be picked within a limit."""
        return self.costs.total(path) <= limit and self.usable(path)

    def best(self, effects: Tensor, limit: float) -> Path:
        """Return the path of the least sum of effects on the loss within a limit; dropped candidates are not used."""
        return best_within(-effects.masked_fill(self.probs <= 0, torch.inf), self.costs, limit, self.limits)

    def close(self, probs: Tensor, limit: float | None, count: int, draws: torch.Generator) -> list[Path]:
        """Return up to `count` paths close under a limit, drawn from a distribution, see `candidates_within`."""
        return candidates_within(probs, self.costs, limit, count, draws, self.settings.slack, self.limits)

    @property
    def least(self) -> float:
        """Cost of the cheapest path there is to pick."""
        return self.costs.total(self.best(self.costs.matrix, torch.inf))

    @property
    def known(self) -> list[Judged]:
        """All paths that were judged, the pool's first."""
        return [*self.pool.values(), *self.judged.values()]

    def known_within(self, limit: float) -> list[Judged]:
        """Return the judged paths that may be picked within a limit."""
        return [found for found in self.known if self.fits(found.path, limit)]

    def model(self) -> LossModel:
        """Return the additive model of all paths that were judged."""
        return fit_losses(self.known, [len(row) for row in self.costs.candidates])

    def measure(self, path: Path) -> float:
        """Return the measured cost of a path; each is measured once."""
        if path not in self.measured:
            self._tell("measure", len(self.measured), 0)
            self.measured[path] = self._measure(path)
        return self.measured[path]


Strategy = Callable[[Derivation, float | None, torch.Generator], list[Path]]
"""(question, limit asked of the table, source of draws) -> paths within the limit, best first."""


def judged(question: Derivation, limit: float | None, draws: torch.Generator) -> list[Path]:
    """Draw paths close under the limit and rank all judged ones within it by validation loss.

    Not by top-1: on as many images the loss ranks networks better (rank correlation with their final accuracy 0.58
    against 0.53), for it moves with every image and top-1 in steps.
    """
    drawn = question.judge(question.close(question.probs, limit, question.settings.num_candidates, draws))
    fitting = drawn if limit is None else question.known_within(limit)
    return [found.path for found in sorted(fitting, key=lambda found: found.loss)]


def pooled(question: Derivation, limit: float | None, draws: torch.Generator) -> list[Path]:
    """Fit an additive model to all judged paths and rank by what it expects; its best path within the limit is exact.

    A model of few judgements is not sure of its effects. So first it learns more where the best path may be: paths that
    are the best within the limit by effects that are as likely (Thompson sampling) are judged, in a few goes.

    The model decides, not a path's own judgement: on NAS-Bench-Macro, with short warm-ups, models of all the other
    paths ranked networks with Kendall tau 0.62 to 0.69, the paths' own losses with 0.51 to 0.59. A model with
    interactions predicts losses twice as well and ranks worse: most of the interactions are what sharing weights does
    to paths that are seldom trained, and an additive model averages them out (`docs/experiments.md`).

    Source: additive predictors of accuracy on shared weights, optimised under a budget, as in Cai et al. 2020
    (arXiv 1908.09791; there a small network and evolution); Thompson 1933.
    """
    return _pooled(question, limit, draws, [])


def judged_and_pooled(question: Derivation, limit: float | None, draws: torch.Generator) -> list[Path]:
    """Do what `pooled` does; half of what the model learns from is drawn by probability, see `judged`."""
    count = max(1, question.settings.num_candidates // 2)
    return _pooled(question, limit, draws, question.close(question.probs, limit, count, draws))


def _pooled(question: Derivation, limit: float | None, draws: torch.Generator, first: Sequence[Path]) -> list[Path]:
    if limit is None:  # the objective weighed loss against cost: only the probabilities know how
        return judged(question, limit, draws)
    question.judge(first)
    wanted = question.settings.num_candidates - len(first)
    for number in range(NUM_ROUNDS):
        part = wanted * (number + 1) // NUM_ROUNDS - wanted * number // NUM_ROUNDS
        question.judge(_promising(question, limit, part, draws))
    model = question.model()
    best = question.best(model.effects, limit)
    fitting = [found.path for found in question.known_within(limit) if found.path != best]
    return [best, *sorted(fitting, key=model.loss)]


def _promising(question: Derivation, limit: float, count: int, draws: torch.Generator) -> list[Path]:
    """Return up to `count` paths that were not judged yet and may be the best within the limit."""
    model, known, found = question.model(), {path.path for path in question.known}, list[Path]()
    for attempt in range(MAX_DRAWS * count):
        effects = model.draw(draws) if attempt else model.effects
        path = question.best(effects, limit)
        if path not in known and path not in found:
            found.append(path)
        if len(found) == count:
            break
    return found


def by_chance(question: Derivation, derived: Path, count: int, draws: torch.Generator) -> list[Judged]:
    """Return what validation says of random paths close under the budget: what a search has to beat.

    Those of the pool come first, which cost nothing; as many as are missing are judged.

    Args:
        question: That was answered; without a budget there is no chance.
        derived: The answer, which is left out.
        count: How many; fewer where hardly as many are close under the budget.
        draws: Source of those that are judged.
    """
    budget = question.budget
    if budget is None:
        return []
    low = (1 - question.settings.slack) * budget
    close = [found for found in question.pool.values() if question.costs.total(found.path) >= low]
    there = [found for found in close if question.fits(found.path, budget) and found.path != derived][:count]
    known = {derived, *(found.path for found in there)}
    even = (question.probs > 0).double()
    even /= even.sum(1, keepdim=True)
    drawn = question.close(even, budget, count + len(known), draws) if len(there) < count else []
    return there + question.judge([path for path in drawn if path not in known][: count - len(there)])


def most_probable_only(question: Derivation, limit: float | None, draws: torch.Generator) -> list[Path]:
    """Return the most probable path within the limit; nothing is judged."""
    within = torch.inf if limit is None else limit
    return [most_probable_within(question.probs, question.costs, within, question.limits)]


STRATEGIES: dict[StrategyName, Strategy] = {
    "judged": judged,
    "pool": pooled,
    "judged-pool": judged_and_pooled,
    "most-probable": most_probable_only,
}


def pick(question: Derivation) -> Derived:
    """Return the best proposed path whose measured cost keeps the budget.

    Where none of those measured does, the limit asked of the table is lowered by the least excess of those within it,
    which all of them have in common, but not below the cheapest path; and once more. If that fails too, the cheapest
    measured one is returned: the caller sees that it is over.

    Raises:
        InputError: If no path fits the budget.
    """
    propose, budget, costs = STRATEGIES[question.settings.strategy], question.budget, question.costs
    limit = budget
    for attempt in range(NUM_ATTEMPTS):
        ranked = propose(question, limit, question.draws(attempt))
        if budget is None:
            return _derived(question, ranked[0])
        for path in [path for path in ranked if question.measured.get(path, 0.0) <= budget][:NUM_MEASURED]:
            if question.measure(path) <= budget:
                return _derived(question, path)
        excess = min(question.measured[path] / costs.total(path) for path in ranked if path in question.measured)
        limit = max(budget / max(excess, MIN_EXCESS), question.least)
    return _derived(question, min(question.measured, key=question.measured.__getitem__))


def _derived(question: Derivation, path: Path) -> Derived:
    return Derived(path, tuple(question.judged.values()), dict(question.measured))
