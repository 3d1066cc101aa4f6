"""Front and hypervolume against brute force over many seeds."""

import numpy as np
import pytest

from orchestrator.report.pareto import hypervolume, non_dominated


def points(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Up to 30 points on a coarse grid, so that ties of every kind are common."""
    random = np.random.default_rng(seed)
    count = int(random.integers(0, 31))
    return random.integers(1, 8, count) / 2, random.integers(0, 6, count) / 5


@pytest.mark.parametrize("seed", range(200))
def test_front_matches_brute_force(seed: int) -> None:
    latency, top1 = points(seed)
    expected = []
    for i in range(len(latency)):
        beaten = any(
            latency[j] <= latency[i] and top1[j] >= top1[i] and (latency[j] < latency[i] or top1[j] > top1[i])
            for j in range(len(latency))
        )
        repeated = any(latency[j] == latency[i] and top1[j] == top1[i] for j in range(i))
        expected.append(not beaten and not repeated)
    assert non_dominated(latency, top1).tolist() == expected


@pytest.mark.parametrize("seed", range(200))
def test_hypervolume_counts_the_dominated_cells(seed: int) -> None:
    latency, top1 = points(seed)
    slowest, worst = 3.0, 0.2
    cells = 0
    for x in np.arange(0.5, slowest, 0.5):  # a cell of the grid is [x, x + 0.5] x [y, y + 0.2]
        for y in (0.2, 0.4, 0.6, 0.8):
            cells += bool(np.any((latency <= x + 1e-9) & (top1 >= y + 0.2 - 1e-9)))
    assert hypervolume(latency, top1, (slowest, worst)) == pytest.approx(cells * 0.5 * 0.2)


def test_worked_example() -> None:
    assert non_dominated([1.0, 2.0, 2.0, 3.0], [0.5, 0.7, 0.7, 0.6]).tolist() == [True, True, False, False]
    assert hypervolume([1.0, 2.0], [0.5, 0.7], (4.0, 0.0)) == pytest.approx(1 * 0.5 + 2 * 0.7)
    assert hypervolume([], [], (4.0, 0.0)) == 0.0


def test_what_is_not_a_number_is_never_on_the_front() -> None:
    nan = float("nan")
    assert non_dominated([nan, 1.0, 2.0, float("inf")], [0.9, nan, 0.5, 0.99]).tolist() == [False, False, True, False]
    assert hypervolume([nan, 1.0, 2.0], [0.9, nan, 0.5], (4.0, 0.0)) == pytest.approx(1.0)


def test_arrays_must_match() -> None:
    with pytest.raises(ValueError, match="equally long"):
        non_dominated([1.0], [0.5, 0.6])
