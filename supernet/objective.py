"""What an architecture step minimises: cross-entropy with a term for the expected cost.

Why here: the three forms are interchangeable, and `budget` carries the multiplier that makes one run meet a
limit. Nothing here knows networks or sampling; a cost may be milliseconds or anything a `CostTable` holds.
"""

import math
from typing import Annotated, Literal, Protocol

import torch
from pydantic import Field, Strict
from pydantic.dataclasses import dataclass
from torch import Tensor

from supernet.cost import CostTable
from supernet.errors import InputError
from supernet.plain import STRICT, Positive

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
        damping: Weight of the squared relative excess of `budget`; keeps the multiplier from swinging.
    """

    kind: Kind = "budget"
    reference: Annotated[float, Strict(), Field(ge=0, le=1e18)] = 0.0
    weight: Annotated[float, Strict(), Field(ge=0, le=1e6)] = 0.1
    exponent: Annotated[Positive, Field(le=10)] = 0.3
    dual_rate: Annotated[Positive, Field(le=100)] = 0.05
    damping: Annotated[float, Strict(), Field(ge=0, le=1e4)] = 1.0


class Objective(Protocol):
    """A scalar to minimise from cross-entropy and expected cost."""

    multiplier: float

    def __call__(self, cross_entropy: Tensor, expected_cost: Tensor) -> Tensor:
        """Return the value to minimise, differentiable in both."""
        ...

    def update(self, expected_cost: float) -> None:
        """Move what is not learnt by gradient, once per architecture step."""
        ...


class AddLinear:
    """CE + weight * (E - reference) / reference."""

    def __init__(self, settings: ObjectiveSettings) -> None:
        self.multiplier, self.reference = settings.weight, settings.reference

    def __call__(self, cross_entropy: Tensor, expected_cost: Tensor) -> Tensor:
        """See `Objective`."""
        return cross_entropy + self.multiplier * (expected_cost / self.reference - 1.0)

    def update(self, expected_cost: float) -> None:
        """Nothing moves."""


class MulLog:
    """weight * CE * (ln E / ln reference) ** exponent: a very mild pressure, and no limit."""

    def __init__(self, settings: ObjectiveSettings) -> None:
        self.multiplier, self.exponent = settings.weight, settings.exponent
        self.log_reference = math.log(settings.reference)

    def __call__(self, cross_entropy: Tensor, expected_cost: Tensor) -> Tensor:
        """See `Objective`."""
        return self.multiplier * cross_entropy * (expected_cost.log() / self.log_reference) ** self.exponent

    def update(self, expected_cost: float) -> None:
        """Nothing moves."""


class Budget:
    """CE + multiplier * excess + damping / 2 * max(0, excess)^2 with excess = E / budget - 1.

    The multiplier rises while the expected cost is above the budget and falls to zero below it (method of
    multipliers), so the limit is stated once, in the user's unit, and no weight is tuned by repeated runs.
    """

    def __init__(self, settings: ObjectiveSettings) -> None:
        self.multiplier = 0.0
        self.budget, self.dual_rate, self.damping = settings.reference, settings.dual_rate, settings.damping

    def __call__(self, cross_entropy: Tensor, expected_cost: Tensor) -> Tensor:
        """See `Objective`."""
        excess = expected_cost / self.budget - 1.0
        return cross_entropy + self.multiplier * excess + 0.5 * self.damping * torch.relu(excess) ** 2

    def update(self, expected_cost: float) -> None:
        """Dual ascent on the multiplier."""
        self.multiplier = max(0.0, self.multiplier + self.dual_rate * (expected_cost / self.budget - 1.0))


def make_objective(settings: ObjectiveSettings, costs: CostTable) -> Objective:
    """Build the objective for a cost table.

    Raises:
        InputError: If the budget is below the cheapest architecture of the space, if the reference is not
            positive, or if `mul_log` would take a logarithm below zero.
    """
    reference, unit = settings.reference, costs.unit
    if not reference > 0:
        raise InputError(f"objective.reference: {reference}; expected a positive cost in {unit}")
    if settings.kind == "budget":
        if reference < costs.minimum:
            raise InputError(
                f"budget {reference:.4g} {unit} on {costs.name}: the space cannot go below {costs.minimum:.4g} {unit} "
                f"(its largest network takes {costs.maximum:.4g}); raise the budget or use a smaller space"
            )
        return Budget(settings)
    if settings.kind == "mul_log":
        if min(reference, costs.minimum) <= 1.0:
            raise InputError(
                f"objective mul_log on {costs.name}: reference {reference:.4g} and smallest cost {costs.minimum:.4g} "
                f"must be above 1 {unit}, its logarithm changes sign there; use 'budget' or 'add_linear'"
            )
        return MulLog(settings)
    return AddLinear(settings)
