"""From sums of block costs to whole networks: a scale and little more, fitted on a handful of them. Pure numbers.

Every plain sum of block costs is biased, by an amount that differs by target and run; after the fit what is left is
about what the measurement itself repeats to (`docs/latency.md`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

TERMS = ((), ("offset_ms",), ("params_ms",), ("offset_ms", "params_ms"))
"""What may stand beside the scale."""

NUM_NEAR = 4
"""With a network that is measured they are five, of which what they do together can be told from what each does."""


@dataclass(frozen=True)
class CalibrationNetwork:
    """A whole network measured in the same run as the rows.

    Attributes:
        architecture: Its id.
        num_params: Its parameters.
        sum_ms: Plain sum of its rows.
        measured_ms: What it took.
        error_ms: Standard error of it.
    """

    architecture: str
    num_params: float
    sum_ms: float
    measured_ms: float
    error_ms: float


@dataclass(frozen=True)
class Calibration:
    """prediction = scale * sum + offset_ms + params_ms * millions of parameters.

    Attributes:
        scale: Factor on every row.
        offset_ms: Constant.
        params_ms: Milliseconds per million parameters, never negative: most likely the weights of a network crowd each
            other out of the caches, which those of a chain do not.
        rms: Root mean square of the relative errors on networks left out of the fit in turn.
        networks: What it was fitted on.
    """

    scale: float
    offset_ms: float = 0.0
    params_ms: float = 0.0
    rms: float = 0.0
    networks: tuple[CalibrationNetwork, ...] = ()

    def near(self, ms: float) -> dict[str, float]:
        """Return what a few networks took that are nearest to so many milliseconds, by the ids of their architectures.

        To be measured again beside another, they tell what is the machine's (`measure.References`).
        """
        nearest = sorted(self.networks, key=lambda network: abs(math.log(network.measured_ms / ms)))
        return {network.architecture: network.measured_ms for network in nearest[:NUM_NEAR]}

    def predict(self, sum_ms: float, num_params: float) -> float:
        """Return the milliseconds of a whole network.

        Args:
            sum_ms: Plain sum of its rows.
            num_params: Its parameters.
        """
        return self.scale * sum_ms + self.offset_ms + self.params_ms * num_params / 1e6


def fit(networks: Sequence[CalibrationNetwork]) -> Calibration:
    """Fit by least squares of relative errors; offset and cost of parameters each stay only if left-out networks are
    predicted better with it.
    """
    plain = _solve(networks, ())
    tried = [terms for terms in TERMS if not terms or _tells(networks, terms, plain.scale)]
    best = min(tried, key=lambda terms: _left_out_rms(networks, terms))
    return replace(_solve(networks, best), rms=_left_out_rms(networks, best), networks=tuple(networks))


def _solve(networks: Sequence[CalibrationNetwork], terms: Sequence[str]) -> Calibration:
    """Minimise the sum of (prediction / measured - 1)^2."""
    matrix = _matrix(networks, terms)
    found = np.linalg.lstsq(matrix, np.ones(len(matrix)), rcond=None)[0].tolist()
    return Calibration(**dict(zip(("scale", *terms), found, strict=True)))


def _matrix(networks: Sequence[CalibrationNetwork], terms: Sequence[str]) -> NDArray[np.float64]:
    """Return what scale and terms are multiplied with, relative to what was measured, a row per network."""
    columns = {
        "scale": [network.sum_ms for network in networks],
        "offset_ms": [1.0 for _ in networks],
        "params_ms": [network.num_params / 1e6 for network in networks],
    }
    matrix = np.array([columns[name] for name in ("scale", *terms)], np.float64)
    return (matrix / [network.measured_ms for network in networks]).T


def _tells(networks: Sequence[CalibrationNetwork], terms: Sequence[str], plain_scale: float) -> bool:
    """Whether the networks tell the terms from the scale: where they cost alike, or have parameters in proportion to
    their cost, the scale comes out of another size than the plain one, or as anything.
    """
    rank = np.linalg.lstsq(_matrix(networks, terms), np.ones(len(networks)), rcond=1e-6)[2]
    if len(networks) < len(terms) + 3 or rank <= len(terms):
        return False
    found = _solve(networks, terms)
    return 0.5 <= found.scale / plain_scale <= 2.0 and found.params_ms >= 0.0


def _left_out_rms(networks: Sequence[CalibrationNetwork], terms: Sequence[str]) -> float:
    if len(networks) == 1:
        return 0.0
    errors = []
    for index, network in enumerate(networks):
        others = _solve([*networks[:index], *networks[index + 1 :]], terms)
        errors.append(others.predict(network.sum_ms, network.num_params) / network.measured_ms - 1.0)
    return math.sqrt(sum(error * error for error in errors) / len(errors))
