"""The best path under several sums against all paths there are, and on a space that has too many to look at."""

import itertools
import math
import time

import pytest
import torch

from supernet.cost import CostTable, macs_table, params_table
from supernet.errors import InputError
from supernet.gates import ArchitectureParameters
from supernet.knapsack import best_within_all, bound_within_all
from supernet.presets import load_space
from supernet.proposals import best_within
from supernet.rng import generator

COUNTS = (3, 4, 2, 3, 4)


def problem(seed: int, num_sums: int, *, integer: bool) -> tuple[torch.Tensor, list[CostTable]]:
    """Return scores (some candidates not in use) and tables; with integers ties are common."""
    draws, width = generator("sums", seed), max(COUNTS)
    scores = torch.full((len(COUNTS), width), -torch.inf, dtype=torch.float64)
    for i, count in enumerate(COUNTS):
        found = 3 * torch.randn(count, generator=draws, dtype=torch.float64)
        scores[i, :count] = found.round() if integer else found
        if seed % 3 == 0 and count > 2:
            scores[i, seed % count] = -torch.inf
    tables = []
    for number in range(num_sums):
        rows = [10 * torch.rand(count, generator=draws, dtype=torch.float64) for count in COUNTS]
        rows = [row.round() if integer else row for row in rows]
        tables.append(CostTable(f"sum{number}", "1", 1.5, tuple(tuple(row.tolist()) for row in rows)))
    return scores, tables


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("most", [1e6, -1e6])
def test_limits_far_from_all_paths_are_no_sums_to_warn_of(most: float) -> None:
    scores, tables = problem(1, 2, integer=False)
    sums = [(table, most) for table in tables]
    if most > 0:
        assert best_within_all(scores, sums) == tuple(scores.argmax(dim=1).tolist())
    else:
        with pytest.raises(InputError, match="no path keeps all limits"):
            best_within_all(scores, sums)


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize("num_sums", [1, 2, 4])
def test_the_path_is_the_best_of_all_paths(num_sums: int, integer: bool) -> None:
    outcomes = set()
    for seed in range(24):
        scores, tables = problem(seed, num_sums, integer=integer)
        paths = [path for path in itertools.product(*map(range, COUNTS))
                 if all(scores[i, j] > -torch.inf for i, j in enumerate(path))]  # fmt: skip
        for share in (0.2, 0.4, 0.7, 1.0):
            sums = [(table, table.minimum + share * (table.maximum - table.minimum)) for table in tables]
            keeping = [path for path in paths if all(table.total(path) <= most for table, most in sums)]
            outcomes.add(bool(keeping))
            if not keeping:
                with pytest.raises(InputError, match=r"no path keeps all limits: sum0 .* \(least: "):
                    best_within_all(scores, sums)
                continue
            path = best_within_all(scores, sums)
            assert all(table.total(path) <= most for table, most in sums)
            best = max(sum(float(scores[i, j]) for i, j in enumerate(other)) for other in keeping)
            assert sum(float(scores[i, j]) for i, j in enumerate(path)) == pytest.approx(best, abs=1e-9)
    assert outcomes == {True, False} or num_sums == 1


@pytest.mark.parametrize("num_sums", [1, 2, 4])
def test_no_path_within_the_limits_has_more_than_the_bound(num_sums: int) -> None:
    for seed in range(40):
        scores, tables = problem(seed, num_sums, integer=False)
        some = torch.multinomial(scores.softmax(1), 1, generator=generator("some", seed)).flatten().tolist()
        sums = [(table, table.total(tuple(some))) for table in tables]
        path = best_within_all(scores, sums)
        assert sum(float(scores[i, j]) for i, j in enumerate(path)) <= bound_within_all(scores, sums)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_on_a_large_space_the_bound_is_close_however_tight_the_limits(share: float) -> None:
    space = load_space("proxyless-imagenet")
    sums = [(table, table.minimum + share * (table.maximum - table.minimum))
            for table in (macs_table(space), params_table(space))]  # fmt: skip
    scores = torch.rand(sums[0][0].matrix.shape, generator=generator("close"), dtype=torch.float64)
    path = best_within_all(scores, sums)
    best = sum(float(scores[i, j]) for i, j in enumerate(path))
    assert best <= bound_within_all(scores, sums) <= 1.05 * best


def test_with_one_sum_it_is_the_knapsack() -> None:
    for seed in range(60):
        scores, (table,) = problem(seed, 1, integer=False)
        budget = table.minimum + 0.6 * (table.maximum - table.minimum)
        assert best_within_all(scores, [(table, budget)]) == best_within(scores, table, budget)


def test_limits_at_a_path_are_kept_to_the_last_bit() -> None:
    for seed in range(60):
        scores, tables = problem(seed, 3, integer=False)
        path = tuple(int(row.argmax()) for row in scores)
        assert best_within_all(scores, [(table, table.total(path)) for table in tables]) == path


def test_the_imagenet_space_takes_no_time_whether_limits_can_be_met_or_not() -> None:
    space = load_space("proxyless-imagenet")
    macs, params = macs_table(space), params_table(space)
    against = CostTable("against", "1", 0.0, tuple(tuple(max(row) - c for c in row) for row in macs.candidates))
    start = time.perf_counter()
    for seed in range(3):
        scores = ArchitectureParameters(space, generator("big", seed), std=2.0).probs().detach().log()
        sums = [(table, table.minimum + 0.4 * (table.maximum - table.minimum)) for table in (macs, params)]
        path = best_within_all(scores, sums)
        for i, row in enumerate(macs.candidates):  # no single exchange that fits is more probable
            for other in ((*path[:i], j, *path[i + 1 :]) for j in range(len(row)) if scores[i, j] > scores[i, path[i]]):
                assert not all(table.total(other) <= most for table, most in sums)
        with pytest.raises(InputError, match="against"):
            best_within_all(scores, [*sums, (against, 0.55 * against.maximum)])
    assert time.perf_counter() - start < 60


@pytest.mark.parametrize("most", [2.7e8, 6e8, 1e15])
def test_a_sum_that_no_candidate_changes_keeps_its_limit_however_far_below_it_is(most):
    """One candidate in use per position, as after pruning: the sum has no spread to be scaled by."""
    macs = CostTable("macs", "1", 1e8, tuple((1.7e7, 2e7) for _ in range(10)))
    ms = CostTable("t", "ms", 0.1, tuple((0.1, 0.3) for _ in range(10)))
    scores = torch.tensor([[0.0, -math.inf]] * 10, dtype=torch.float64)
    assert best_within_all(scores, [(ms, 2.0), (macs, most)]) == (0,) * 10
    with pytest.raises(InputError, match="no path keeps all limits"):
        best_within_all(scores, [(ms, 2.0), (macs, 2.6e8)])
