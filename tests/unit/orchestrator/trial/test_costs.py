"""What a network takes: as on the machine of the table, and by several measurements together."""

import pytest
import torch

from latency.measuring.measure import Measurement
from orchestrator.trial.costs import NetworkCost, Timing


@pytest.mark.parametrize(("machine", "taken_out"), [(1.0, 1.0), (1.1, 1.1), (0.9, 0.9), (1.3, 1.0), (0.8, 0.8)])
def test_a_figure_is_of_the_machine_of_the_table_unless_that_has_slowed_too_far(machine, taken_out):
    cost = NetworkCost.measured(Measurement(2.2, 0.01, 3.0, 100, None, "", machine))
    assert (cost.value, cost.error, cost.median) == pytest.approx((2.2 / taken_out, 0.01 / taken_out, 3.0 / taken_out))
    assert bool(cost.moved) == (machine in (1.3, 0.8))
    assert cost.slowed == (machine == 1.3)


def test_what_references_differ_by_is_part_of_a_figures_error():
    cost = NetworkCost.measured(Measurement(2.2, 0.03, 3.0, 100, None, "", 1.1, 0.011))
    assert cost.error == pytest.approx(2.0 * (0.0136363636**2 + 0.01**2) ** 0.5, rel=1e-6)
    assert NetworkCost.measured(Measurement(2.2, None, 3.0, 100, None, "", 1.1, 0.011)).error is None


def taken(*costs: NetworkCost) -> NetworkCost:
    return Timing("ab" * 32, costs).cost


def test_two_measurements_that_agree_count_both_by_their_errors():
    cost = taken(NetworkCost(1.02, 0.01, 1.2, ""), NetworkCost(0.99, 0.02, 1.1, ""))
    assert cost.value == pytest.approx((4 * 1.02 + 0.99) / 5)
    assert cost.median == pytest.approx((4 * 1.2 + 1.1) / 5)
    assert cost.error == pytest.approx((1 / 0.01**2 + 1 / 0.02**2) ** -0.5)


@pytest.mark.parametrize(
    "slower",
    [
        NetworkCost(1.1, 0.02, 1.2, ""),  # five errors away
        NetworkCost(1.01, 0.02, 1.2, "load 3"),
        NetworkCost(1.01, 0.02, 1.2, "", "slower by 20 %", slowed=True),
        NetworkCost(1.01, None, 1.2, ""),
    ],
)
def test_a_slower_one_that_was_disturbed_does_not_count(slower):
    fastest = NetworkCost(1.0, 0.02, 1.2, "")
    assert taken(slower, fastest) == taken(fastest, slower) == fastest


def test_a_faster_one_that_was_disturbed_does_not_count():
    calm = NetworkCost(1.0, 0.02, 1.2, "")
    assert taken(NetworkCost(0.98, 0.02, 1.2, "load 3"), calm) == calm


def test_what_is_too_slow_passes_by_a_second_try_no_more_often_than_by_a_precise_one():
    """The faster of two would pass nearly twice as often as one, with errors as large as the excess."""
    draws = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)).mul(0.01).add(1.01).tolist()
    once = sum(first <= 1 for first, _ in draws)
    twice = sum(
        first <= 1 or taken(NetworkCost(first, 0.01, 1.0, ""), NetworkCost(second, 0.01, 1.0, "")).value <= 1
        for first, second in draws
    )
    faster = sum(min(pair) <= 1 for pair in draws)
    assert once < twice < (once + faster) / 2
