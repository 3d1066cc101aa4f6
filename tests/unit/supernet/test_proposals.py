"""Paths worth a look: the knapsack against brute force, draws against the conditional law, the default's promises."""

import itertools
import math

import pytest
import torch

from supernet.cost import CostTable, macs_table
from supernet.errors import InputError
from supernet.gates import ArchitectureParameters
from supernet.presets import load_space
from supernet.proposals import (
    best_front,
    candidates_within,
    draw_close,
    draw_uniform,
    most_probable,
    most_probable_within,
)
from supernet.rng import generator


def problem(seed, counts=(3, 4, 2, 3), integer=False):
    """Return random probabilities (some exactly zero) and costs for positions with these numbers of candidates."""
    draws, width = generator("problem", seed), max(counts)
    probs = torch.zeros(len(counts), width, dtype=torch.float64)
    rows = []
    for i, n in enumerate(counts):
        p = torch.rand(n, generator=draws, dtype=torch.float64) ** 3 + 1e-6
        if n > 2 and seed % 3 == 0:
            p[seed % n] = 0.0
        probs[i, :n] = p / p.sum()
        costs = 10 * torch.rand(n, generator=draws, dtype=torch.float64)
        rows.append(tuple(float(c.round() if integer else c) for c in costs))
    return probs, CostTable("random", "ms", 1.5, tuple(rows))


def every_path(probs, costs):
    """Return {path: (probability, cost)} of all paths with positive probability."""
    found = {}
    for path in itertools.product(*(range(len(row)) for row in costs.candidates)):
        chance = math.prod(float(probs[i, j]) for i, j in enumerate(path))
        if chance > 0:
            found[path] = (chance, costs.total(path))
    return found


@pytest.mark.parametrize("integer", [False, True])
def test_the_knapsack_is_the_best_of_all_paths(integer):
    for seed in range(150):
        probs, costs = problem(seed, integer=integer)
        paths = every_path(probs, costs)
        totals = sorted(cost for _, cost in paths.values())
        for share in (0.0, 0.02, 0.2, 0.5, 0.9, 1.0):
            budget = totals[int(share * (len(totals) - 1))]
            path = most_probable_within(probs, costs, budget)
            best = max(chance for chance, cost in paths.values() if cost <= budget)
            assert costs.total(path) <= budget
            assert paths[path][0] == pytest.approx(best, rel=1e-9)
        with pytest.raises(InputError, match="the cheapest remaining path takes"):
            most_probable_within(probs, costs, totals[0] - 1e-6)


@pytest.mark.parametrize("integer", [False, True])
def test_the_front_is_that_of_all_paths(integer):
    for seed in range(50):
        probs, costs = problem(seed, integer=integer)
        found_costs, scores = best_front(probs.log(), costs)
        best, wanted = -math.inf, []
        for cost, score in sorted((cost, -math.log(chance)) for chance, cost in every_path(probs, costs).values()):
            if -score > best + 1e-12:
                best = -score
                wanted.append((cost, best))
        assert list(zip(found_costs.tolist(), scores.tolist(), strict=True)) == [pytest.approx(pair) for pair in wanted]


def test_with_budget_to_spare_the_knapsack_is_the_most_probable_path():
    for seed in range(50):
        probs, costs = problem(seed)
        assert most_probable_within(probs, costs, 100.0) == most_probable(probs)


def test_the_knapsack_is_exact_on_the_imagenet_space_too():
    space = load_space("proxyless-imagenet")
    costs = macs_table(space)
    probs = ArchitectureParameters(space, generator("big"), std=2.0).probs().detach()
    budget = costs.minimum + 0.3 * (costs.maximum - costs.minimum)
    path = most_probable_within(probs, costs, budget)
    assert costs.total(path) <= budget
    score = sum(math.log(float(probs[i, j])) for i, j in enumerate(path))
    # Lagrangian bound: for every mu >= 0, max over paths of score - mu * (cost - budget) is at least the optimum.
    bounds = []
    for mu in torch.logspace(-10, -6, 400, dtype=torch.float64).tolist():
        gains = (probs.log() - mu * costs.matrix).amax(1).sum()
        bounds.append(float(gains) + mu * (budget - costs.fixed))
    assert score <= min(bounds) + 1e-9
    assert score >= min(bounds) - 0.3
    # No single exchange that fits is more probable.
    for i, row in enumerate(costs.candidates):
        for j in range(len(row)):
            other = (*path[:i], j, *path[i + 1 :])
            if costs.total(other) <= budget:
                assert float(probs[i, j]) <= float(probs[i, path[i]])


@pytest.mark.parametrize("window", [(0.0, 0.3), (0.35, 0.5), (0.8, 1.0)])
def test_draws_follow_the_law_given_the_cost(window):
    probs, costs = problem(1, counts=(3, 3, 2))
    paths = every_path(probs, costs)
    totals = [cost for _, cost in paths.values()]
    low, high = (min(totals) + share * (max(totals) - min(totals)) for share in window)
    inside = {path: chance for path, (chance, cost) in paths.items() if low <= cost <= high}
    assert 2 < len(inside) < len(paths)
    drawn = draw_close(probs, costs, low, high, 60_000, generator("draws"))
    assert set(drawn) <= set(inside)
    assert len(drawn) > 1000
    for path, chance in inside.items():
        law, share = chance / sum(inside.values()), drawn.count(path) / len(drawn)
        assert abs(share - law) <= 4 * (law * (1 - law) / len(drawn)) ** 0.5 + 1e-12


def test_the_default_neither_exceeds_the_budget_nor_leaves_it_unused():
    space = load_space("proxyless-imagenet")
    costs = macs_table(space)
    for seed, std in itertools.product(range(4), (1e-3, 1.0, 4.0)):
        probs = ArchitectureParameters(space, generator("default", seed), std=std).probs().detach()
        for share in (0.05, 0.3, 0.6, 0.95, 1.5):
            budget = costs.minimum + share * (costs.maximum - costs.minimum)
            paths = candidates_within(probs, costs, budget, 8, generator("judge", seed))
            assert 1 <= len(paths) <= 8
            assert len(set(paths)) == len(paths)
            for path in paths:
                assert 0.9 * min(budget, costs.maximum) <= costs.total(path) <= budget


def test_where_no_path_is_close_the_closest_window_is_taken():
    costs = CostTable("steps", "ms", 0.0, ((1.0, 10.0), (1.0, 10.0)))
    probs = torch.full((2, 2), 0.5, dtype=torch.float64)
    assert set(candidates_within(probs, costs, 19.0, 8, generator("steps"))) == {(0, 1), (1, 0)}
    assert candidates_within(probs, costs, 2.0, 8, generator("steps")) == [(0, 0)]
    with pytest.raises(InputError, match=r"budget 1\.5 ms"):
        candidates_within(probs, costs, 1.5, 8, generator("steps"))


def test_the_most_probable_path_is_judged_where_it_uses_the_budget():
    for seed in range(40):
        probs, costs = problem(seed)
        budget = costs.total(most_probable(probs)) * 1.02
        assert candidates_within(probs, costs, budget, 4, generator(seed))[0] == most_probable(probs)


def test_of_paths_that_are_as_probable_any_is_judged():
    costs = macs_table(load_space("nas-bench-macro"))
    even = torch.full((8, 3), 1 / 3, dtype=torch.float64)
    paths = candidates_within(even, costs, 50e6, 12, generator(0))
    assert all(len({path[position] for path in paths}) > 1 for position in range(8))


def test_without_a_budget_the_most_probable_path_comes_first():
    probs, costs = problem(2)
    paths = candidates_within(probs, costs, None, 5, generator("free"))
    assert paths[0] == most_probable(probs)
    assert 1 < len(paths) <= 5
    assert set(paths) <= set(every_path(probs, costs))


def test_draws_are_the_same_for_the_same_generator():
    probs, costs = problem(4)
    first, second = (candidates_within(probs, costs, 14.0, 6, generator("same")) for _ in range(2))
    assert first == second


def test_even_draws_are_distinct_use_all_that_is_usable_and_extend_shorter_lists():
    usable = torch.tensor([[True, False, True], [True, True, False], [True, True, True]])
    paths = draw_uniform(usable, 12, generator("even"))
    assert len(set(paths)) == len(paths) == 12 == 2 * 2 * 3
    assert {path[0] for path in paths} == {0, 2}
    assert draw_uniform(usable, 5, generator("even")) == paths[:5]
    counts = torch.zeros(3)
    for number in range(300):
        counts[draw_uniform(usable, 1, generator("even", number))[0][2]] += 1
    assert counts.min() > 70
