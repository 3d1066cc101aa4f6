"""Objectives against their formulas, and the multiplier's way to a budget."""

import math
from typing import get_args

import pytest
import torch

from supernet.cost import CostTable
from supernet.errors import InputError, RunError
from supernet.health import check_distribution, check_loss, mean_entropy, skip_share, zero_mask
from supernet.objective import OBJECTIVES, Kind, ObjectiveSettings, make_objective
from supernet.presets import load_space

COSTS = CostTable("board", "ms", 2.0, ((1.0, 3.0), (2.0, 10.0, 0.0)))


def value_and_gradients(settings, cross_entropy, cost, multiplier=None):
    objective = make_objective(settings, COSTS)
    if multiplier is not None:
        objective.multiplier = multiplier
    inputs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (cross_entropy, cost)]
    value = objective(*inputs)
    return float(value.detach()), *(float(g) for g in torch.autograd.grad(value, inputs))


def test_add_linear_is_the_released_formula():
    settings = ObjectiveSettings(kind="add_linear", reference=8.0, weight=0.1)
    found = value_and_gradients(settings, 2.0, 10.0)
    assert found == pytest.approx((2.0 + 0.1 * (10 - 8) / 8, 1.0, 0.1 / 8))


def test_mul_log_is_the_released_formula():
    settings = ObjectiveSettings(kind="mul_log", reference=8.0, weight=0.2, exponent=0.3)
    factor = (math.log(10) / math.log(8)) ** 0.3
    by_cost = 0.2 * 2.0 * 0.3 * (math.log(10) / math.log(8)) ** -0.7 / (10 * math.log(8))
    assert value_and_gradients(settings, 2.0, 10.0) == pytest.approx((0.2 * 2.0 * factor, 0.2 * factor, by_cost))


@pytest.mark.parametrize("cost", [6.0, 10.0])
def test_budget_is_the_augmented_lagrangian(cost):
    settings = ObjectiveSettings(kind="budget", reference=8.0, damping=2.0)
    excess = cost / 8 - 1
    expected = 1.5 + 0.7 * excess + max(0, excess) ** 2
    by_cost = (0.7 + 2 * max(0, excess)) / 8
    assert value_and_gradients(settings, 1.5, cost, multiplier=0.7) == pytest.approx((expected, 1.0, by_cost))


def test_the_multiplier_rises_above_the_budget_and_falls_to_zero_below():
    objective = make_objective(ObjectiveSettings(kind="budget", reference=8.0, dual_rate=0.5), COSTS)
    objective.update(12.0)
    assert objective.multiplier == pytest.approx(0.25)
    objective.update(10.0)
    assert objective.multiplier == pytest.approx(0.375)
    for _ in range(10):
        objective.update(4.0)
    assert objective.multiplier == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ObjectiveSettings("budget", reference=2.9), "budget 2.9 ms on board: the space cannot go below 3 ms"),
        (ObjectiveSettings("add_linear", reference=0.0), "expected a positive cost in ms"),
        (ObjectiveSettings("mul_log", reference=1.0), "its logarithm changes sign"),
    ],
)
def test_what_cannot_be_met_is_said(settings, message):
    with pytest.raises(InputError) as caught:
        make_objective(settings, COSTS)
    assert message in str(caught.value)


def test_a_budget_at_the_very_minimum_is_allowed():
    assert make_objective(ObjectiveSettings("budget", reference=COSTS.minimum), COSTS)


def test_expected_cost_is_the_mean_over_paths():
    probs = torch.tensor([[0.25, 0.75, 0.0], [0.5, 0.2, 0.3]], dtype=torch.float64)
    mean = sum(float(probs[0, i] * probs[1, j]) * COSTS.total((i, j)) for i in range(2) for j in range(3))
    assert float(COSTS.expected(probs)) == pytest.approx(mean)
    assert (COSTS.minimum, COSTS.maximum) == (3.0, 15.0)


def test_health_numbers():
    space = load_space("digits")
    zero = zero_mask(space, 7)
    assert zero.sum() == 4
    assert zero[0].any().item() is False
    probs = torch.zeros(6, 7, dtype=torch.float64)
    probs[:, :6] = 1 / 6
    assert mean_entropy(probs) == pytest.approx(math.log(6))
    assert skip_share(probs, zero) == 0.0
    probs[1] = torch.eye(7)[6]
    assert skip_share(probs, zero) == pytest.approx(0.25)
    with pytest.raises(RunError, match="the loss is inf"):
        check_loss("step 3", torch.tensor(math.inf))
    objective = make_objective(ObjectiveSettings("budget", reference=8.0), COSTS)
    with pytest.raises(RunError, match="alpha is not finite"):
        check_distribution(3, torch.full((2, 3), math.nan), torch.zeros(2, 3), objective)


def test_every_kind_that_settings_allow_is_an_objective():
    assert set(get_args(Kind)) == set(OBJECTIVES)
