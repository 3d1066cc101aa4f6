"""Accuracy figures against scipy and by hand."""

import random

import pytest
from scipy.stats import kendalltau, linregress

from latency.checks.accuracy import accuracy, fit_line, kendall_tau


@pytest.mark.parametrize("seed", range(20))
def test_kendall_tau_is_scipys_tau_b(seed: int) -> None:
    rng = random.Random(seed)
    x = [rng.randrange(8) for _ in range(25)]
    y = [a + rng.randrange(6) for a in x]
    assert kendall_tau(x, y) == pytest.approx(kendalltau(x, y).statistic)


def test_no_order_is_no_correlation() -> None:
    assert kendall_tau([1.0, 1.0], [1.0, 2.0]) == 0.0


def test_figures_by_hand() -> None:
    found = accuracy([1.04, 2.0, 2.8, 5.0], [1.0, 2.0, 3.0, 4.0])
    assert (found.within_5, found.within_10) == (0.5, 0.75)
    assert found.worst == pytest.approx(0.25)
    assert found.mape == pytest.approx((0.04 + 0 + 0.2 / 3 + 0.25) / 4)
    assert found.bias == pytest.approx((0.04 + 0 - 0.2 / 3 + 0.25) / 4)
    assert found.rmse_ms == pytest.approx(((0.04**2 + 0.2**2 + 1) / 4) ** 0.5)
    assert found.tau == 1.0


def test_networks_that_were_measured_alike_have_no_order() -> None:
    predicted, measured = [1.01, 1.0, 3.0, 2.0], [1.0, 1.005, 2.0, 3.0]
    known = accuracy(predicted, measured)
    assert known.tau == known.tau_told == pytest.approx((4 - 2) / 6)
    assert accuracy(predicted, measured, [0.01, 0.001, 0.0, 0.0]).tau_told == pytest.approx((4 - 1) / 5)
    assert accuracy(predicted, measured, [9.0] * 4).tau_told == 0.0


def test_line_is_least_squares() -> None:
    rng = random.Random(0)
    x = [rng.random() for _ in range(9)]
    y = [2 * a + rng.random() for a in x]
    reference = linregress(x, y)
    assert fit_line(x, y) == (pytest.approx(reference.slope), pytest.approx(reference.intercept))
