"""The gate: whether a network's prediction, files, measurement and accuracy agree, and if not, what to do about it.

Why here: what rejects a network, what is only said, and what is worth another derivation, in one place. Plain figures
in, sentences out: it must not know files, devices or how a network was found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt

from latency.measuring.measure import SURE
from orchestrator.plan.requirements import GateConfig
from orchestrator.report.rows import cost_text
from orchestrator.trial.costs import NetworkCost


@dataclass(frozen=True)
class Difference:
    """How far a file's outputs are from the trained network's, as a share of the largest.

    Attributes:
        precision: That the file is kept in: fp32, fp16 or bf16.
        share: The difference; not a number where an output is none.
    """

    precision: str
    share: float


@dataclass(frozen=True)
class Figures:
    """What is known of a network, in the unit of its target.

    Attributes:
        unit: Milliseconds, or "1" for a count.
        predicted: Cost by the target's table, not corrected.
        table_error: Relative error of the table on networks left out of its fit.
        budget: What it must not exceed; None for none.
        cost: What the delivered file takes.
        differences: Of the files that have to compute what the network does, by name.
        file: Name and precision of the delivered one, for messages.
        wanted_top1: Of the trained network in fp32, on the test split.
        top1: Of the delivered file, on the same images.
        num_images: How many these are.
        counted: What is limited besides, by its name under `limits`: of the network, and at most.
    """

    unit: str
    predicted: float
    table_error: float
    budget: float | None
    cost: NetworkCost
    differences: Mapping[str, Difference]
    file: str
    wanted_top1: float
    top1: float
    num_images: int
    counted: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a network.

    Attributes:
        over_budget: By how much it is over its budget, in words; empty if it is not.
        others: What else rejects it.
        doubts: What is said of it and rejects nothing.
        too_slow: Whether it is rejected as slower than predicted or than its budget allows: the device may have been
            disturbed, and measuring once more tells, in seconds.
        disturbed: Where it is too slow by a measurement that cannot be believed, why not; empty otherwise. It says
            nothing of the network then, and less of another one.
    """

    over_budget: str
    others: tuple[str, ...]
    doubts: tuple[str, ...]
    too_slow: bool
    disturbed: str

    @property
    def reason(self) -> str:
        """Why the network is rejected; empty if it is not."""
        return "; ".join(filter(None, (self.over_budget, *self.others)))

    @property
    def correctable(self) -> bool:
        """Whether a network of a lower limit may pass: a table that is off by more than it may is off for all."""
        return bool(self.over_budget) and not self.others and not self.disturbed


def judge(figures: Figures, gate: GateConfig) -> Verdict:
    """Return what disagrees about a network by more than the gate's tolerances, and what is only uncertain."""
    rejections, doubts = list[str](), list[str]()
    prediction = _prediction(figures, gate)
    for found in (prediction, _accuracy(figures, gate)):
        if found:
            text, certain = found
            (rejections if certain else doubts).append(text)
    rejections += _parity(figures, gate)
    for name, (value, most) in figures.counted.items():
        if value > most:
            rejections.append(f"{name} is {value:.6g}; at most {most:.6g} is allowed (limits.{name})")
    for noise in filter(None, (figures.cost.noise, figures.cost.moved)):
        doubts.append(f"noisy measurement: {noise}")
    over_budget = _over_budget(figures, gate)
    doubts += [] if over_budget else _hardly_within(figures, gate)
    slower = prediction is not None and prediction[1] and figures.cost.value > figures.predicted
    too_slow = slower or bool(over_budget)
    return Verdict(over_budget, tuple(rejections), tuple(doubts), too_slow, figures.cost.disturbed if too_slow else "")


def _over_budget(figures: Figures, gate: GateConfig) -> str:
    budget, cost = figures.budget, figures.cost.value
    if budget is None or cost <= budget * (1 + gate.over_budget):
        return ""
    return (
        f"measured {cost_text(cost, figures.unit)}, {cost / budget - 1:.1%} over the budget of "
        f"{cost_text(budget, figures.unit)} ({gate.over_budget:.0%} allowed, gate.over_budget)"
    )


def _hardly_within(figures: Figures, gate: GateConfig) -> list[str]:
    """Return what is said where a budget is kept by the measurement, but not beyond its error."""
    budget, cost, error = figures.budget, figures.cost.value, figures.cost.error
    if budget is None or not error or cost + SURE * error <= budget * (1 + gate.over_budget):
        return []
    return [
        f"measured {cost_text(cost, figures.unit)}, with a standard error of {error / cost:.1%}: the budget of "
        f"{cost_text(budget, figures.unit)} is kept by less than {SURE:g} of them"
    ]


def _prediction(figures: Figures, gate: GateConfig) -> tuple[str, bool] | None:
    """Return how the measurement disagrees with the prediction, and whether that rejects the network.

    A table that knows itself less well than the tolerance is believed up to twice the tolerance. A network that is
    faster than predicted keeps what was promised, so only twice the tolerance rejects it: then the search did not know
    what it searched. What the measurement's own error leaves open rejects nothing.
    """
    tolerance, off = gate.prediction_error, figures.cost.value / figures.predicted - 1
    allowed = min(max(tolerance, SURE * figures.table_error), 2 * tolerance)
    if abs(off) <= allowed:
        return None
    error = inf if figures.cost.error is None else figures.cost.error
    sure = abs(off) - SURE * error / figures.predicted
    text = (
        f"measured {cost_text(figures.cost.value, figures.unit)}, predicted "
        f"{cost_text(figures.predicted, figures.unit)} ({off:+.0%}; {allowed:.0%} allowed, gate.prediction_error)"
    )
    return text, sure > (allowed if off > 0 else 2 * tolerance)


def _parity(figures: Figures, gate: GateConfig) -> list[str]:
    found = []
    for name, difference in figures.differences.items():
        allowed = getattr(gate.parity, difference.precision)
        if not difference.share <= allowed:  # not a number is no difference that is allowed
            found.append(
                f"{name} ({difference.precision}) differs from the trained network by {difference.share:.1e}; "
                f"{allowed:.0e} is allowed (gate.parity.{difference.precision})"
            )
    return found


def _accuracy(figures: Figures, gate: GateConfig) -> tuple[str, bool] | None:
    """Return by how much the delivered file is less accurate than the network, and whether that rejects it.

    On few images one answer is more than the tolerance: what chance explains is a doubt. Both see the same images, so
    the standard error of a loss of k images is at least the square root of k.
    """
    loss = figures.wanted_top1 - figures.top1
    if loss <= gate.max_top1_loss + 1e-9:
        return None
    text = (
        f"{figures.file} has a top-1 of {figures.top1:.1%}, the trained network {figures.wanted_top1:.1%}; "
        f"{gate.max_top1_loss:.1%} less is allowed (gate.max_top1_loss)"
    )
    chance = SURE * sqrt(loss * figures.num_images) / figures.num_images
    if loss - chance > gate.max_top1_loss:
        return text, True
    return f"{text}, which {figures.num_images} images do not show for certain", False
