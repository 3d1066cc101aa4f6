"""Paths worth a look: the knapsack against brute force, draws against the conditional law, the default's promises."""

import itertools
import math
import time
import tracemalloc

import pytest
import torch

from supernet.cost import CostTable, macs_table, params_table
from supernet.errors import InputError
from supernet.gates import ArchitectureParameters
from supernet.limits import NO_LIMITS, Limit, Limits
from supernet.presets import load_space
from supernet.proposals import (
    PROPOSED_FOR,
    best_front,
    candidates_within,
    draw_close,
    most_cost,
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
        assert most_probable_within(probs, costs, 100.0) == tuple(probs.argmax(1).tolist())


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


def test_as_many_paths_are_drawn_as_are_wanted_where_there_are_so_many():
    """Before: out of 4096 proposals whatever was wanted, and of a sharp distribution most of them are alike."""
    space = load_space("proxyless-imagenet")
    costs = macs_table(space)
    probs = ArchitectureParameters(space, generator("sharp"), std=4.0).probs().detach()
    budget = costs.minimum + 0.5 * (costs.maximum - costs.minimum)
    paths = candidates_within(probs, costs, budget, 3000, generator("many"))
    assert len(set(paths)) == len(paths) == 3000
    assert candidates_within(probs, costs, budget, PROPOSED_FOR, generator("many"))[:8] == candidates_within(
        probs, costs, budget, 8, generator("many")
    )


def test_the_most_probable_path_is_judged_where_it_uses_the_budget():
    for seed in range(40):
        probs, costs = problem(seed)
        budget = costs.total(tuple(probs.argmax(1).tolist())) * 1.02
        assert candidates_within(probs, costs, budget, 4, generator(seed))[0] == tuple(probs.argmax(1).tolist())


def test_of_paths_that_are_as_probable_any_is_judged():
    costs = macs_table(load_space("nas-bench-macro"))
    even = torch.full((8, 3), 1 / 3, dtype=torch.float64)
    paths = candidates_within(even, costs, 50e6, 12, generator(0))
    assert all(len({path[position] for path in paths}) > 1 for position in range(8))


def imagenet_milliseconds(seed):
    """Return a table of milliseconds as a device might have measured them: in proportion to MACs, give or take 30 %."""
    macs, draws = macs_table(load_space("proxyless-imagenet")), generator("ms", seed)
    noise = 0.7 + 0.6 * torch.rand(macs.matrix.shape, generator=draws, dtype=torch.float64)
    rows = (1e-7 * macs.matrix * noise + 0.001).tolist()
    candidates = tuple(tuple(row[: len(costs)]) for row, costs in zip(rows, macs.candidates, strict=True))
    return CostTable("device", "ms", 1.3, candidates)


def limit_at(costs, share):
    return Limit(costs, costs.minimum + share * (costs.maximum - costs.minimum))


IMAGENET = load_space("proxyless-imagenet")
MEMORY = ((2, 0), (3, 5))
"""Candidates that a limit on peak memory forbids."""


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("limits", [
    Limits(forbidden=MEMORY),
    Limits((limit_at(params_table(IMAGENET), 0.5),), MEMORY),
    Limits((limit_at(params_table(IMAGENET), 0.4), limit_at(macs_table(IMAGENET), 0.4))),
])  # fmt: skip
def test_further_limits_on_many_measured_milliseconds_take_neither_time_nor_memory(limits, share):
    """No two sums of such milliseconds are equal: the front of cost against cost is every sum there is."""
    start = time.perf_counter()
    tracemalloc.start()
    for seed in range(2):
        costs = imagenet_milliseconds(seed)
        probs = ArchitectureParameters(IMAGENET, generator("many", seed), std=1.0).probs().detach()
        budget = costs.minimum + share * (costs.maximum - costs.minimum)
        paths = candidates_within(probs, costs, budget, 8, generator("judge", seed), 0.1, limits)
        assert len(paths) == 8
        assert all(limits.keep(path) and costs.total(path) <= budget for path in paths)
        assert min(map(costs.total, paths)) >= 0.9 * max(map(costs.total, paths))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 1.0])
def test_no_path_costs_more_than_is_said_and_one_costs_nearly_as_much(share):
    """Under limits on sums too, a limit on what is counted itself among them."""
    for seed in range(20):
        probs, costs = problem(seed, counts=(3, 4, 3, 4, 3, 4))
        paths = every_path(probs, costs)
        assert most_cost(costs, usable=probs > 0) == max(cost for _, cost in paths.values())
        _, sizes = problem(seed + 100, counts=(3, 4, 3, 4, 3, 4))
        for limits in (Limits((limit_at(sizes, share),)), Limits((limit_at(sizes, share), limit_at(costs, share)))):
            kept = [cost for path, (_, cost) in paths.items() if limits.keep(path)]
            if kept:
                assert max(kept) <= most_cost(costs, limits, probs > 0) <= most_cost(costs, NO_LIMITS, probs > 0)
    macs = macs_table(IMAGENET)
    assert most_cost(macs, Limits((limit_at(macs, share),))) == pytest.approx(limit_at(macs, share).most, rel=2e-3)


def test_where_limits_leave_few_draws_close_to_the_budget_those_below_are_judged_too():
    params, costs = params_table(IMAGENET), imagenet_milliseconds(0)
    even = torch.ones(costs.matrix.shape, dtype=torch.float64)
    for row, known in zip(even, costs.candidates, strict=True):
        row[len(known) :] = 0.0
    limits = Limits((limit_at(params, 0.2),))
    even /= even.sum(1, keepdim=True)
    paths = candidates_within(even, costs, costs.maximum, 8, generator("few"), 0.1, limits)
    totals = [costs.total(path) for path in paths]
    assert max(totals) < 0.9 * most_cost(costs, limits), "none is close"
    assert len(paths) > 5
    assert min(totals) >= 0.9 * max(totals)


def test_without_a_budget_the_most_probable_path_comes_first():
    probs, costs = problem(2)
    paths = candidates_within(probs, costs, None, 5, generator("free"))
    assert paths[0] == tuple(probs.argmax(1).tolist())
    assert 1 < len(paths) <= 5
    assert set(paths) <= set(every_path(probs, costs))


def test_draws_are_the_same_for_the_same_generator():
    probs, costs = problem(4)
    first, second = (candidates_within(probs, costs, 14.0, 6, generator("same")) for _ in range(2))
    assert first == second
