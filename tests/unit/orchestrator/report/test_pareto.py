"""The front against brute force over many seeds."""

import numpy as np
import pytest

from orchestrator.report.pareto import knee, non_dominated


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


def test_worked_example() -> None:
    assert non_dominated([1.0, 2.0, 2.0, 3.0], [0.5, 0.7, 0.7, 0.6]).tolist() == [True, True, False, False]


def test_what_is_not_a_number_is_never_on_the_front() -> None:
    nan = float("nan")
    assert non_dominated([nan, 1.0, 2.0, float("inf")], [0.9, nan, 0.5, 0.99]).tolist() == [False, False, True, False]


def test_arrays_must_match() -> None:
    with pytest.raises(ValueError, match="equally long"):
        non_dominated([1.0], [0.5, 0.6])


@pytest.mark.parametrize("seed", range(100))
def test_the_knee_is_the_farthest_above_the_chord(seed: int) -> None:
    """Against the distance of each point of the front from the line through its ends, in the scaled plane."""
    latency, top1 = points(seed)
    if not len(latency):
        return
    front = sorted((latency[i], top1[i], i) for i in np.flatnonzero(non_dominated(latency, top1)))
    (x0, y0, cheapest), (x1, y1, _) = front[0], front[-1]
    expected, highest = cheapest, 0.0
    for x, y, i in front:
        if len(front) > 1:
            height = ((y - y0) / (y1 - y0) - (x - x0) / (x1 - x0)) / 2**0.5
            expected, highest = (i, height) if height > highest + 1e-9 else (expected, highest)
    assert knee(latency, top1) == expected


def test_the_knee_of_a_worked_example() -> None:
    assert knee([4.0, 1.0, 2.0, 3.0], [0.91, 0.5, 0.8, 0.9]) == 2
    assert knee([1.0, 2.0], [0.5, 0.9]) == 0
    assert knee([1.0, 2.0, 3.0], [0.5, 0.6, 0.9]) == 0  # it bends the other way
    assert knee([3.0], [0.5]) == 0
