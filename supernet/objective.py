"""What an architecture step minimises: cross-entropy with a term for the expected cost.

Why here: the forms are interchangeable, and all that depends on which one it is stands in its class: a new one is a
class, its settings and its name, here. Nothing knows networks or sampling; a cost is whatever a `CostTable` holds.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, Strict
from pydantic.dataclasses import dataclass
from torch import Tensor

from supernet.cost import CostTable
from supernet.errors import InputError
from supernet.limits import NO_LIMITS, Limit, Limits
from supernet.plain import STRICT, Positive
from supernet.proposals import best_within
from supernet.prune import spare_cheapest
from supernet.space import Path

UNUSED_BUDGET = 0.8
"""Below this share of a budget, networks that cost more would be welcome."""

Kind = Literal["budget", "add_linear", "mul_log"]


@dataclass(frozen=True, config=STRICT)
class ObjectiveSettings:
    """Which objective, and its constants.

    Attributes:
        kind: `budget` (a limit, met by dual ascent), `add_linear` or `mul_log` (as released).
        reference: The budget, or the reference cost of the other two, in the cost table's unit; 0 until it is known.
        weight: Factor of the cost term: lambda of `add_linear` (released default 0.1), alpha of `mul_log`
            (released default 0.2). Not used by `budget`.
        exponent: Beta of `mul_log` (released default 0.3).
        dual_rate: Step of the multiplier per architecture step, per unit of relative excess.
        damping: Weight of the squared relative excess of `budget`; keeps the multiplier from swinging. Both hold for
            limits beside the objective too.
    """

    kind: Kind = "budget"
    reference: Annotated[float, Strict(), Field(ge=0, le=1e18)] = 0.0
    weight: Annotated[float, Strict(), Field(ge=0, le=1e6)] = 0.1
    exponent: Annotated[Positive, Field(le=10)] = 0.3
    dual_rate: Annotated[Positive, Field(le=100)] = 0.05
    damping: Annotated[float, Strict(), Field(ge=0, le=1e4)] = 1.0


class LimitTerm:
    """What one limit beside the budget adds to any objective: a multiplier of its own, by dual ascent as in `Budget`.

    Attributes:
        limit: The limit.
        multiplier: Factor of its term; what a restart must restore.
    """

    def __init__(self, limit: Limit, settings: ObjectiveSettings) -> None:
        self.limit, self.settings, self.multiplier = limit, settings, 0.0

    def excess(self, probs: Tensor) -> Tensor:
        """Return by how much the expected sum is over the limit, as a share of it."""
        return self.limit.costs.expected(probs) / self.limit.most - 1.0

    def __call__(self, probs: Tensor) -> Tensor:
        """Return what is added to the value to minimise."""
        excess = self.excess(probs)
        return self.multiplier * excess + 0.5 * self.settings.damping * torch.relu(excess) ** 2

    def update(self, probs: Tensor) -> None:
        """Dual ascent on the multiplier."""
        self.multiplier = max(0.0, self.multiplier + self.settings.dual_rate * float(self.excess(probs)))

    def has_room(self, probs: Tensor) -> bool:
        """Whether a good part of the limit is unused."""
        return bool(self.excess(probs) < UNUSED_BUDGET - 1.0)


class Objective:
    """A scalar to minimise from cross-entropy and expected cost, and what else in a search depends on its kind.

    Attributes:
        limited: Whether `reference` is a limit that networks must keep, or only what a weight is relative to.
        trades: Whether a greater `weight` asks for cheaper networks.
        multiplier: Factor of the cost term; what a restart must restore.
        limits: What must be kept besides.
        terms: One per limit on a sum; what a restart must restore of them stands there.
    """

    limited: ClassVar[bool] = False
    trades: ClassVar[bool] = False

    def __init__(self, settings: ObjectiveSettings, costs: CostTable, limits: Limits) -> None:
        self.settings, self.costs, self.reference = settings, costs, settings.reference
        self.multiplier = settings.weight
        self.limits, self.terms = limits, [LimitTerm(limit, settings) for limit in limits.sums]
        if limits != NO_LIMITS:
            self.best_path(torch.zeros_like(costs.matrix))

    def __call__(self, cross_entropy: Tensor, expected_cost: Tensor) -> Tensor:
        """Return the value to minimise, differentiable in both."""
        raise NotImplementedError

    def with_limits(self, value: Tensor, probs: Tensor) -> Tensor:
        """Return the value to minimise with the terms of all limits."""
        for term in self.terms:
            value = value + term(probs)
        return value

    def ascend(self, probs: Tensor) -> None:
        """Move all that is not learnt by gradient, once per architecture step."""
        self.update(float(self.costs.expected(probs)))
        for term in self.terms:
            term.update(probs)

    def update(self, expected_cost: float) -> None:
        """Move what is not learnt by gradient of the cost term."""

    def spared(self, doomed: Tensor, alive: Tensor) -> Tensor:
        """Return which of the candidates about to be dropped may go: a path in all limits is left.

        Of all such paths, it is one with the fewest candidates about to be dropped; those are spared.
        """
        doomed = self.spare(doomed, alive)
        if self.terms and bool(doomed.any()):
            scores = torch.zeros_like(self.costs.matrix).masked_fill(doomed, -1.0).masked_fill(~alive, -math.inf)
            doomed = doomed.clone()
            doomed[torch.arange(len(doomed)), torch.tensor(self.best_path(scores))] = False
        return doomed

    def best_path(self, scores: Tensor) -> Path:
        """Return the path with the largest sum of scores that keeps the limits, and the budget if that is one.

        Raises:
            InputError: If no path of candidates in use does.
        """
        return best_within(scores, self.costs, self.reference if self.limited else math.inf, self.limits)

    def spare(self, doomed: Tensor, alive: Tensor) -> Tensor:
        """Return which of the candidates about to be dropped may go, see `prune`."""
        return doomed

    def pays_for_more(self, probs: Tensor) -> bool:
        """Whether networks much costlier than these would be as welcome; never where loss is weighed against cost."""
        return False


class AddLinear(Objective):
    """CE + weight * (E - reference) / reference."""

    trades = True

    def __call__(self, cross_entropy: Tensor, expected_cost: Tensor) -> Tensor:
        """See `Objective`."""
        return cross_entropy + self.multiplier * (expected_cost / self.reference - 1.0)


class MulLog(Objective):
    """weight * CE * (ln E / ln reference) ** exponent: a very mild pressure, and no limit."""

    def __init__(self, settings: ObjectiveSettings, costs: CostTable, limits: Limits) -> None:
        super().__init__(settings, costs, limits)
        if min(self.reference, costs.minimum) <= 1.0:
            raise InputError(
                f"objective mul_log on {costs.name}: reference {self.reference:.4g} and smallest cost "
                f"{costs.minimum:.4g} must be above {costs.told(1)}, its logarithm changes sign there; use another kind"
            )
        self.log_reference = math.log(self.reference)

    def __call__(self, cross_entropy: Tensor, expected_cost: Tensor) -> Tensor:
        """See `Objective`."""
        exponent = self.settings.exponent
        return self.multiplier * cross_entropy * (expected_cost.log() / self.log_reference) ** exponent


class Budget(Objective):
    """CE + multiplier * excess + damping / 2 * max(0, excess)^2 with excess = E / budget - 1.

    The multiplier rises while the expected cost is above the budget and falls to zero below it (method of
    multipliers), so the limit is stated once, in the user's unit, and no weight is tuned by repeated runs.
    """

    limited = True

    def __init__(self, settings: ObjectiveSettings, costs: CostTable, limits: Limits) -> None:
        if settings.reference < costs.minimum:
            raise InputError(
                f"budget {costs.told(settings.reference)} on {costs.name}: the space cannot go below "
                f"{costs.told(costs.minimum)} (its largest network takes {costs.told(costs.maximum)}); raise the "
                "budget or use a smaller space"
            )
        super().__init__(settings, costs, limits)
        self.multiplier = 0.0

    def __call__(self, cross_entropy: Tensor, expected_cost: Tensor) -> Tensor:
        """See `Objective`."""
        excess = expected_cost / self.reference - 1.0
        return cross_entropy + self.multiplier * excess + 0.5 * self.settings.damping * torch.relu(excess) ** 2

    def update(self, expected_cost: float) -> None:
        """Dual ascent on the multiplier."""
        self.multiplier = max(0.0, self.multiplier + self.settings.dual_rate * (expected_cost / self.reference - 1.0))

    def spare(self, doomed: Tensor, alive: Tensor) -> Tensor:
        """Keep the cheapest candidates where nothing within the budget would be left without them."""
        return spare_cheapest(doomed, alive, self.costs, self.reference)

    def pays_for_more(self, probs: Tensor) -> bool:
        """Whether a good part of the budget, and of every limit beside it, is unused."""
        unused = float(self.costs.expected(probs)) < UNUSED_BUDGET * self.reference
        return unused and all(term.has_room(probs) for term in self.terms)


OBJECTIVES: dict[Kind, type[Objective]] = {"budget": Budget, "add_linear": AddLinear, "mul_log": MulLog}


def make_objective(settings: ObjectiveSettings, costs: CostTable, limits: Limits = NO_LIMITS) -> Objective:
    """Build the objective for a cost table, and limits beside it.

    Raises:
        InputError: If the reference is not positive, the objective cannot work on this table, or no path keeps all
            limits.
    """
    if not settings.reference > 0:
        raise InputError(f"objective.reference: {settings.reference}; expected a positive cost in {costs.unit}")
    return OBJECTIVES[settings.kind](settings, costs, limits)
