"""The fit from sums of rows to whole networks, against known factors and plain search."""

import random

import pytest

from latency.calibrate import Calibration, CalibrationNetwork, fit


def networks(pairs: list[tuple[float, float]]) -> list[CalibrationNetwork]:
    return [CalibrationNetwork(str(i), total, measured, 0.0) for i, (total, measured) in enumerate(pairs)]


def loss(calibration: Calibration) -> float:
    return sum(
        ((calibration.scale * n.sum_ms + calibration.offset_ms) / n.measured_ms - 1) ** 2 for n in calibration.networks
    )


def test_a_pure_scale_is_found_without_an_offset() -> None:
    rng = random.Random(0)
    pairs = [(total, 1.17 * total * (1 + rng.gauss(0, 0.003))) for total in (2.0, 13.0, 8.0, 9.0, 8.5, 8.2, 7.7)]
    found = fit(networks(pairs))
    assert found.scale == pytest.approx(1.17, rel=0.01)
    assert abs(found.offset_ms) < 0.05
    assert found.rms < 0.01


def test_an_offset_is_taken_if_it_predicts_left_out_networks_better() -> None:
    found = fit(networks([(total, 1.1 * total + 0.5) for total in (2.0, 13.0, 8.0, 9.0, 7.0)]))
    assert (found.scale, found.offset_ms) == (pytest.approx(1.1), pytest.approx(0.5))
    assert found.rms < 1e-9


def test_the_fit_is_the_least_of_relative_squares() -> None:
    rng = random.Random(3)
    pairs = [(total, (1.2 * total + 0.3) * (1 + rng.gauss(0, 0.02))) for total in (2.0, 5.0, 8.0, 9.0, 13.0)]
    found = fit(networks(pairs))
    steps = [(1e-3, 0.0), (-1e-3, 0.0)] + ([(0.0, 1e-3), (0.0, -1e-3)] if found.offset_ms else [])
    for scale, offset in steps:
        moved = Calibration(found.scale + scale, found.offset_ms + offset, 0.0, found.networks)
        assert loss(moved) > loss(found)


def test_left_out_error_is_that_of_networks_not_fitted() -> None:
    """One network that fits nothing else is predicted wrongly when it is left out, in full."""
    pairs = [(1.0, 1.0), (2.0, 2.0), (4.0, 6.0)]
    found = fit(networks(pairs))
    expected = []
    for index, (total, measured) in enumerate(pairs):
        rest = [pair for i, pair in enumerate(pairs) if i != index]
        ratios = [t / m for t, m in rest]
        scale = sum(ratios) / sum(r * r for r in ratios)
        expected.append((scale * total / measured - 1) ** 2)
    assert found.rms == pytest.approx((sum(expected) / 3) ** 0.5)


def test_one_network_gives_its_own_scale() -> None:
    assert fit(networks([(2.0, 3.0)])).scale == pytest.approx(1.5)


def test_networks_that_cost_alike_give_no_line() -> None:
    """Noise alone would give any slope, a negative one too."""
    found = fit(networks([(10.0, 11.02), (10.01, 10.98), (10.02, 11.01), (10.03, 10.97), (10.04, 10.99)]))
    assert found.offset_ms == 0.0
    assert found.scale == pytest.approx(1.1, rel=0.01)
