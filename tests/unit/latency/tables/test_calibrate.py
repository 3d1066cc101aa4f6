"""The fit from sums of rows to whole networks, against known factors and plain search."""

import random
from dataclasses import replace

import pytest

from latency.tables.calibrate import Calibration, CalibrationNetwork, fit


def networks(pairs: list[tuple[float, float]]) -> list[CalibrationNetwork]:
    """Return networks of (sum, measured), their parameters in proportion to their sums."""
    return [weighted(total, 1e6 * total, measured) for total, measured in pairs]


def weighted(total: float, num_params: float, measured: float) -> CalibrationNetwork:
    return CalibrationNetwork(f"{total} {num_params}", num_params, total, measured, 0.0)


def drawn(num: int, seed: int, *, offset: float, params_ms: float, noise: float) -> list[CalibrationNetwork]:
    """Return networks whose parameters do not go with their sums, 1.2 times as slow as these."""
    rng, found = random.Random(seed), []
    for _ in range(num):
        total, millions = rng.uniform(2.0, 13.0), rng.uniform(2.0, 6.0)
        measured = (1.2 * total + offset + params_ms * millions) * (1 + rng.gauss(0, noise))
        found.append(weighted(total, 1e6 * millions, measured))
    return found


def loss(calibration: Calibration) -> float:
    return sum((calibration.predict(n.sum_ms, n.num_params) / n.measured_ms - 1) ** 2 for n in calibration.networks)


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
    found = fit(drawn(16, 3, offset=-1.0, params_ms=0.5, noise=0.01))
    for name in ("scale", "offset_ms", "params_ms"):
        assert getattr(found, name) != 0.0
        for step in (-1e-3, 1e-3):
            assert loss(replace(found, **{name: getattr(found, name) + step})) > loss(found)


def test_a_cost_of_parameters_is_taken_if_it_predicts_left_out_networks_better() -> None:
    found = fit(drawn(8, 1, offset=-0.3, params_ms=0.2, noise=0.0))
    assert (found.scale, found.offset_ms) == (pytest.approx(1.2), pytest.approx(-0.3))
    assert found.params_ms == pytest.approx(0.2)
    assert found.predict(10.0, 3e6) == pytest.approx(12.3)


def test_a_cost_of_parameters_is_never_negative() -> None:
    found = fit(drawn(12, 1, offset=0.0, params_ms=-0.2, noise=0.0))
    assert found.params_ms == 0.0


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


def test_the_networks_near_a_time_are_those_of_the_least_ratio() -> None:
    times = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 5.0, "e": 9.0, "f": 20.0}
    networks = tuple(CalibrationNetwork(name, 0.0, 1.0, ms, 0.0) for name, ms in times.items())
    assert list(Calibration(1.0, networks=networks).near(4.0)) == ["d", "c", "b", "e"]
    assert Calibration(1.0, networks=networks[:2]).near(9.0) == {"b": 2.0, "a": 1.0}
