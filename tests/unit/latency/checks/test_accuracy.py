"""Accuracy figures against their definitions and by hand."""

import math
import random
from itertools import combinations

import numpy as np
import pytest

from latency.checks.accuracy import accuracy, fit_line, kendall_tau


@pytest.mark.parametrize("seed", range(20))
def test_kendall_tau_is_that_of_its_definition(seed: int) -> None:
    """tau-b: agreeing pairs less disagreeing ones, over the root of the pairs that each side orders."""
    rng = random.Random(seed)
    x = [rng.randrange(8) for _ in range(25)]
    y = [a + rng.randrange(6) for a in x]
    signs = [(np.sign(a - c), np.sign(b - d)) for (a, b), (c, d) in combinations(zip(x, y, strict=True), 2)]
    ordered = [sum(sign != 0 for sign in side) for side in zip(*signs, strict=True)]
    assert kendall_tau(x, y) == pytest.approx(sum(a * b for a, b in signs) / math.sqrt(ordered[0] * ordered[1]))


def test_no_order_is_no_correlation() -> None:
    assert kendall_tau([1.0, 1.0], [1.0, 2.0]) == 0.0


def test_figures_by_hand() -> None:
    found = accuracy([1.04, 2.0, 2.8, 5.0], [1.0, 2.0, 3.0, 4.0])
    assert (found.within_5, found.within_10) == (0.5, 0.75)
    assert found.worst == pytest.approx(0.25)
    assert found.mape == pytest.approx((0.04 + 0 + 0.2 / 3 + 0.25) / 4)
    assert found.bias == pytest.approx((0.04 + 0 - 0.2 / 3 + 0.25) / 4)
    assert found.rmse_ms == pytest.approx(((0.04**2 + 0.2**2 + 1) / 4) ** 0.5)
    assert found.tau == pytest.approx(1.0)


def test_networks_that_were_measured_alike_have_no_order() -> None:
    predicted, measured = [1.01, 1.0, 3.0, 2.0], [1.0, 1.005, 2.0, 3.0]
    known = accuracy(predicted, measured)
    assert (known.tau, known.tau_told) == (pytest.approx((4 - 2) / 6), pytest.approx((4 - 2) / 6))
    assert accuracy(predicted, measured, [0.01, 0.001, 0.0, 0.0]).tau_told == pytest.approx((4 - 1) / 5)
    assert accuracy(predicted, measured, [9.0] * 4).tau_told == 0.0


def test_line_is_least_squares() -> None:
    rng = random.Random(0)
    x = [rng.random() for _ in range(9)]
    y = [2 * a + rng.random() for a in x]
    slope, intercept = fit_line(x, y)
    misses = np.array(y) - slope * np.array(x) - intercept
    assert (misses.sum(), (misses * x).sum()) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    assert fit_line([3.0], [5.0]) == fit_line([3.0, 3.0], [4.0, 6.0]) == (0.0, 5.0)
