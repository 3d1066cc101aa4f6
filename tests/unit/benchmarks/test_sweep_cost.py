"""The cost of further trials and the area of fronts: budgets of smaller sweeps, shares, areas by brute force."""

import math
import random

import pytest

from benchmarks.sweep_cost import HIGHEST, LOWEST, Range, Trial, fractions, hypervolume, summary

WITHIN = Range(1.0, 100.0)


def test_smaller_sweeps_have_some_of_the_budgets_of_the_largest_and_its_ends():
    every = fractions(12, 12)
    assert (every[0], every[-1]) == (LOWEST, pytest.approx(HIGHEST))
    for number in (2, 4, 8):
        some = fractions(number, 12)
        assert len(set(some)) == number
        assert set(some) <= set(every)
        assert (some[0], some[-1]) == (every[0], every[-1])


def test_an_area_is_the_mean_of_what_is_reached_over_the_logarithm_of_the_cost():
    assert hypervolume([(1.0, 0.8)], WITHIN) == pytest.approx(0.8)
    assert hypervolume([(10.0, 0.8)], WITHIN) == pytest.approx(0.4)
    assert hypervolume([(10.0, 0.8), (20.0, 0.7)], WITHIN) == pytest.approx(0.4), "a worse one adds nothing"
    draws = random.Random(0)
    points = [(math.exp(draws.uniform(0, math.log(100))), draws.random()) for _ in range(9)]
    grid = [math.exp(math.log(100) * (i + 0.5) / 20_000) for i in range(20_000)]
    mean = sum(max([top1 for cost, top1 in points if cost <= at], default=0.0) for at in grid) / len(grid)
    assert hypervolume(points, WITHIN) == pytest.approx(mean, abs=1e-3)


def trials(shared_seconds, shared_top1):
    return [
        Trial("macs", mode, fraction, (0,), 100 * fraction, seconds, top1)
        for mode, seconds, top1 in (("shared", shared_seconds, shared_top1), ("independent", 60.0, 0.8))
        for fraction in fractions(4, 4)
    ]


def test_a_further_trial_is_told_as_a_share_of_one_search_and_a_front_as_a_share_of_the_other():
    found = summary(trials(4.0, 0.796), 40.0, 10.0, {"macs": WITHIN}, [2, 4])
    assert found["independent_search_cpu_seconds"] == 100.0
    assert found["further_trial"] == {"value": 0.04, "wanted": "<= 0.05", "met": True}
    assert found["4_trials_per_target"]["searches"] == pytest.approx(0.66)
    for number in (2, 4):
        share = found[f"{number}_trials_per_target"]["macs"]["shared_by_independent"]
        assert share == {"value": 0.995, "wanted": ">= 0.98", "met": True}
    worse = summary(trials(9.0, 0.7), 40.0, 10.0, {"macs": WITHIN}, [2, 4])
    assert not worse["further_trial"]["met"]
    assert not worse["4_trials_per_target"]["macs"]["shared_by_independent"]["met"]
