"""How good predictions are: shares within 5 and 10 %, errors, rank correlation. Pure numbers.

Why here: the table, the plain sum and a straight line through MACs are judged by the same function. scipy takes a
second to import and nothing else in the room needs it: it is imported inside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Accuracy:
    """Errors are relative to the measured value, as fractions.

    Attributes:
        num_networks: How many were compared.
        within_5: Share with an error of at most 5 %.
        within_10: Share with an error of at most 10 %.
        mape: Mean absolute error.
        bias: Mean signed error: positive if predicted too slow.
        rmse_ms: Root mean square error, in the unit of the values.
        worst: Largest absolute error.
        tau: Kendall's rank correlation (tau-b).
        tau_told: The same over the pairs that the measurement tells apart, 0 if there are none.
    """

    num_networks: int
    within_5: float
    within_10: float
    mape: float
    bias: float
    rmse_ms: float
    worst: float
    tau: float
    tau_told: float


def accuracy(predicted: Sequence[float], measured: Sequence[float], errors: Sequence[float] = ()) -> Accuracy:
    """Compare predictions with what was measured, at least one value.

    Args:
        predicted: Values.
        measured: Values of the same things in the same unit.
        errors: Relative standard error of each measured value; 0 if not given.
    """
    misses = [p / m - 1.0 for p, m in zip(predicted, measured, strict=True)]
    num = len(misses)
    return Accuracy(
        num_networks=num,
        within_5=sum(abs(miss) <= 0.05 for miss in misses) / num,
        within_10=sum(abs(miss) <= 0.10 for miss in misses) / num,
        mape=sum(map(abs, misses)) / num,
        bias=sum(misses) / num,
        rmse_ms=math.sqrt(sum((p - m) ** 2 for p, m in zip(predicted, measured, strict=True)) / num),
        worst=max(map(abs, misses)),
        tau=kendall_tau(predicted, measured),
        tau_told=_tau_told(predicted, measured, errors or [0.0] * num),
    )


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Kendall's tau-b, 0 if one side has no order at all."""
    from scipy.stats import kendalltau

    ordered = len(set(first)) > 1 and len(set(second)) > 1
    return float(kendalltau(first, second).statistic) if ordered else 0.0


def _tau_told(predicted: Sequence[float], measured: Sequence[float], errors: Sequence[float]) -> float:
    """Return the mean agreement in order over pairs that differ by more than twice the standard error of that."""
    agreements = [
        _sign(predicted[i] - predicted[j]) * _sign(measured[i] - measured[j])
        for i in range(len(measured))
        for j in range(i)
        if abs(measured[i] - measured[j]) > 2.0 * math.hypot(errors[i] * measured[i], errors[j] * measured[j])
    ]
    return sum(agreements) / len(agreements) if agreements else 0.0


def fit_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return (slope, intercept) of the least-squares line; a level one where all `x` are the same."""
    from scipy.stats import linregress

    if len(set(x)) == 1:
        return 0.0, sum(y) / len(y)
    line = linregress(x, y)
    return float(line.slope), float(line.intercept)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
