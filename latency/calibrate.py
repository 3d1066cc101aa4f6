"""One scale from block costs to whole networks, fitted on a handful of them. Pure numbers.

Every plain sum of block costs is biased, by an amount that differs by target and run; after one scale what is
left is about what the measurement itself repeats to (`docs/latency.md`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CalibrationNetwork:
    """A whole network measured in the same run as the rows.

    Attributes:
        architecture: Its id.
        sum_ms: Plain sum of its rows.
        measured_ms: What it took.
        error_ms: Standard error of it.
    """

    architecture: str
    sum_ms: float
    measured_ms: float
    error_ms: float


@dataclass(frozen=True)
class Calibration:
    """prediction = scale * sum + offset_ms.

    Attributes:
        scale: Factor on every row.
        offset_ms: Constant, 0 unless it predicted left-out networks better.
        rms: Root mean square of the relative errors on networks left out of the fit in turn.
        networks: What it was fitted on.
    """

    scale: float
    offset_ms: float
    rms: float
    networks: tuple[CalibrationNetwork, ...]


def fit(networks: Sequence[CalibrationNetwork]) -> Calibration:
    """Fit by least squares of relative errors; take an offset only if it predicts left-out networks better."""
    pairs = [(network.sum_ms, network.measured_ms) for network in networks]
    choices = [_fit_scale, _fit_line] if len(pairs) >= 4 and _plausible(pairs) else [_fit_scale]
    best = min(choices, key=lambda choice: _left_out_rms(choice, pairs))
    scale, offset = best(pairs)
    return Calibration(scale, offset, _left_out_rms(best, pairs), tuple(networks))


Pair = tuple[float, float]


def _fit_scale(pairs: Sequence[Pair]) -> Pair:
    ratios = [total / measured for total, measured in pairs]
    return sum(ratios) / sum(ratio * ratio for ratio in ratios), 0.0


def _fit_line(pairs: Sequence[Pair]) -> Pair:
    """Minimise sum((scale * total + offset) / measured - 1)^2."""
    aa = sum((total / measured) ** 2 for total, measured in pairs)
    ab = sum(total / measured**2 for total, measured in pairs)
    bb = sum(1.0 / measured**2 for _, measured in pairs)
    a = sum(total / measured for total, measured in pairs)
    b = sum(1.0 / measured for _, measured in pairs)
    determinant = aa * bb - ab * ab
    return (a * bb - b * ab) / determinant, (aa * b - ab * a) / determinant


def _plausible(pairs: Sequence[Pair]) -> bool:
    """Whether the line's scale is of the size of the plain one: networks that cost alike do not tell a line."""
    return 0.5 <= _fit_line(pairs)[0] / _fit_scale(pairs)[0] <= 2.0


def _left_out_rms(fit_pairs: Callable[[Sequence[Pair]], Pair], pairs: Sequence[Pair]) -> float:
    if len(pairs) == 1:
        return 0.0
    errors = []
    for index, (total, measured) in enumerate(pairs):
        scale, offset = fit_pairs([*pairs[:index], *pairs[index + 1 :]])
        errors.append((scale * total + offset) / measured - 1.0)
    return math.sqrt(sum(error * error for error in errors) / len(errors))
