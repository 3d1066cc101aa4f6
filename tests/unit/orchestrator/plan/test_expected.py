"""The front that is expected of a target: against all paths of a small space, with and without judged paths."""

import itertools
import math
import random

import pytest

from orchestrator.plan.expected import ROOM, expected_front, rounded_up, table_error
from supernet.cost import CostTable, params_table
from supernet.limits import NO_LIMITS, Limit, Limits
from supernet.pool import Judged, fit_losses
from supernet.presets import load_space

COSTS = CostTable("t", "ms", 0.5, ((0.0, 1.0, 2.5), (0.2, 0.9), (0.1, 0.4, 1.7)))
COUNTS = CostTable("c", "1", 500.0, ((0.0, 1000.0, 2500.0), (200.0, 900.0), (100.0, 400.0, 1700.0)))
PATHS = list(itertools.product(range(3), range(2), range(3)))
EFFECTS = ((0.9, 0.3, 0.0), (0.4, 0.0), (0.5, 0.2, 0.15))


def loss(path):
    return 1.0 + sum(row[j] for row, j in zip(EFFECTS, path, strict=True))


POOL = [Judged(path, 0.5, loss(path)) for path in random.Random(0).sample(PATHS, 15)]


def expected(costs=COSTS, pool=POOL, *, weighted=False, reference=3.0, limits=NO_LIMITS):
    return expected_front(costs, pool, weighted=weighted, reference=reference, num_classes=10, limits=limits)


@pytest.mark.parametrize("costs", [COSTS, COUNTS], ids=["ms", "counts"])
def test_a_budget_is_expected_to_lead_to_the_best_path_of_the_model_within_it(costs):
    model, points = fit_losses(POOL, (3, 2, 3)), expected(costs)
    for point in points:
        within = [path for path in PATHS if costs.total(path) <= point.value]
        best = min(within, key=model.loss)
        assert point.cost == pytest.approx(costs.total(best))
        assert -point.quality == pytest.approx(model.loss(best))
    values = [point.value for point in points]
    assert values == sorted(set(values))
    assert values[0] == rounded_up(costs.minimum * (1 + ROOM))
    best = min(PATHS, key=model.loss)
    assert values[-1] == rounded_up(costs.total(best)), "nothing dearer is worth having"


def test_a_weight_is_expected_to_lead_to_what_minimises_the_objective():
    model, points = fit_losses(POOL, (3, 2, 3)), expected(weighted=True)
    for point in points:
        best = min(model.loss(path) + point.value * COSTS.total(path) / 3.0 for path in PATHS)
        assert -point.quality + point.value * point.cost / 3.0 == pytest.approx(best)
    assert points[0].cost == COSTS.minimum
    assert points[-1].cost == pytest.approx(COSTS.total(min(PATHS, key=model.loss)))
    weights = [point.value for point in points]
    assert weights == sorted(weights, reverse=True)


def test_without_judged_paths_the_ends_are_those_of_the_table():
    budgets, weights = expected(pool=()), expected(pool=(), weighted=True)
    assert budgets[0].value == rounded_up(COSTS.minimum * (1 + ROOM))
    assert budgets[-1].value == rounded_up(COSTS.maximum)
    assert all(point.cost == point.value for point in budgets)
    assert (weights[0].cost, weights[-1].cost) == pytest.approx((COSTS.minimum, COSTS.maximum))
    even = math.log(10) * 3.0 / (COSTS.maximum - COSTS.minimum)
    assert (weights[0].value, weights[-1].value) == pytest.approx((10 * even, even / 100), rel=1e-3)
    for points in (budgets, weights):
        qualities = [point.quality for point in points]
        assert qualities == sorted(qualities)


def test_a_space_of_one_network_has_one_point():
    alone = CostTable("t", "1", 640.0, ((0.0,), (0.0,)))
    pool = [Judged((0, 0), 0.5, 1.0)] * 2
    for judged in (pool, ()):
        assert [point.value for point in expected(alone, judged)] == [704.0]
        assert {point.cost for point in expected(alone, judged, weighted=True)} == {640.0}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("most", [700.0, 1500.0, 3000.0, 9000.0])
def test_nothing_is_expected_beyond_what_keeps_the_limits(most, weighted):
    """Parameters and milliseconds disagree here: the fastest path has many, and a candidate takes too much memory."""
    sizes = CostTable("params", "1", 0.0, ((900.0, 500.0, 2500.0), (800.0, 100.0), (100.0, 400.0, 1700.0)))
    limits = Limits((Limit(sizes, most),), forbidden=((2, 2),))
    kept, model = [path for path in PATHS if limits.keep(path)], fit_losses(POOL, (3, 2, 3))
    best, least = min(kept, key=model.loss), min(map(COSTS.total, kept))
    points = expected(weighted=weighted, limits=limits)
    assert points[0].cost <= least
    assert points[-1].cost <= COSTS.total(best)
    if not weighted:
        assert points[0].value == rounded_up(least * (1 + ROOM))
        assert points[-1].value <= rounded_up(max(COSTS.total(best), least * (1 + ROOM)))
    for point in expected(pool=(), weighted=weighted, limits=limits):
        assert least * 0.999 <= point.cost <= max(COSTS.total(path) for path in kept) * 1.2
    free = Limits(forbidden=limits.forbidden)
    allowed = [path for path in PATHS if free.keep(path)]
    assert -expected(weighted=weighted, limits=free)[-1].quality == pytest.approx(min(map(model.loss, allowed)))


@pytest.mark.parametrize("limited", [False, True])
def test_a_large_space_of_measured_milliseconds_has_ends_without_judged_paths(limited):
    """No two of its sums are equal, so that the dearest network is not to be had from a front."""
    params, draws = params_table(load_space("proxyless-imagenet")), random.Random(0)
    costs = CostTable("t", "ms", 0.5, tuple(tuple(draws.uniform(0.1, 2) for _ in row) for row in params.candidates))
    limits = Limits((Limit(params, 0.5 * params.maximum), Limit(costs, 0.6 * costs.maximum))) if limited else NO_LIMITS
    for weighted in (False, True):
        points = expected(costs, (), weighted=weighted, limits=limits)
        assert points[-1].cost == pytest.approx(costs.maximum * (0.6 if limited else 1), rel=2e-3)
        assert costs.minimum <= points[0].cost <= 0.6 * points[-1].cost


def test_counts_are_exact_and_milliseconds_are_not():
    assert table_error(COUNTS) == 0.0
    assert table_error(COSTS) > 0.0


def test_four_digits_never_below():
    draws = random.Random(0)
    for _ in range(2000):
        value = 10 ** draws.uniform(-6, 12)
        found = rounded_up(value)
        assert value <= found <= value * 1.0011
        assert float(f"{found:.4g}") == found
    assert [rounded_up(value) for value in (640.0, 0.1, 1.0, 9999.5, 1e6)] == [640.0, 0.1, 1.0, 10000.0, 1e6]
