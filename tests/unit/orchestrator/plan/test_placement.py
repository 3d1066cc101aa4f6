"""Where the next point of a front goes: ends, gaps in both axes, what was found, and how near is too near."""

import itertools
import math

import pytest

from orchestrator.plan.placement import Point, next_point

ERROR = 0.03


def front(quality=lambda cost: math.log(cost), low=1.0, high=16.0, number=257):
    """Return a front of budgets that are used to their end."""
    steps = [low * (high / low) ** (i / (number - 1)) for i in range(number)]
    return [Point(cost, cost, quality(cost)) for cost in steps]


def fill(expected, number, find=None, nearest=ERROR):
    """Place points one after the other; `find` says what comes of each before the next is placed."""
    placed, found = [], []
    for _ in range(number):
        point = next_point(expected, placed, found, nearest)
        if point is None:
            break
        placed.append(point.value)
        if find:
            found.append(find(point))
    return placed


def test_the_ends_come_first_then_the_middle_by_ratios():
    placed = fill(front(), 5)
    assert placed[:2] == [1.0, pytest.approx(16.0)]
    assert placed[2] == pytest.approx(4.0, rel=0.02)
    assert sorted(placed[3:]) == [pytest.approx(2.0, rel=0.02), pytest.approx(8.0, rel=0.02)]


def test_a_steep_stretch_gets_more_points_than_a_flat_one():
    steep = front(lambda cost: -1.0 / (1 + math.exp(12 * (math.log2(cost) - 1))))  # all is gained around a cost of 2
    placed = fill(steep, 9)
    assert sum(1.5 < cost < 2.7 for cost in placed) >= 4
    assert sum(1.5 < cost < 2.7 for cost in fill(front(), 9)) <= 3


@pytest.mark.parametrize("quality", [math.log, lambda c: -1 / c, lambda c: min(c, 3.0), lambda c: 0.0])
def test_no_gap_is_left_wider_than_points_are_apart(quality):
    expected = front(quality)
    qualities = [p.quality for p in expected]
    span = (max(qualities) - min(qualities)) or 1.0

    def at(point):
        return math.log(point.cost, 16), (point.quality - min(qualities)) / span

    by_value = {point.value: at(point) for point in expected}
    for number in (3, 5, 8, 13):
        placed = [by_value[value] for value in fill(expected, number)]
        apart = min(math.dist(a, b) for a, b in itertools.combinations(placed, 2))
        uncovered = max(min(math.dist(at(p), other) for other in placed) for p in expected)
        assert uncovered <= apart + 1e-9


def test_points_are_never_nearer_than_the_error_and_a_front_is_full_one_day():
    placed = sorted(fill(front(high=1.2), 100))
    assert 4 <= len(placed) < 8
    assert all(b / a >= 1 + ERROR for a, b in itertools.pairwise(placed))
    assert len(fill(front(high=1.2), 100, nearest=0.0)) == 100
    assert fill([Point(2.0, 1.5, 0.0)], 5) == [2.0]  # one network alone
    steps = [Point(1.0 + i / 10, 1.0 if i < 5 else 2.0, i >= 5) for i in range(10)]
    assert fill(steps, 5, nearest=0.0) == [1.0, 1.5], "the same network under another budget is no point"


def test_a_scale_changes_nothing():
    other = [Point(1e6 * p.value, 1e6 * p.cost, 3.0 * p.quality - 40.0) for p in front()]
    assert [value / 1e6 for value in fill(other, 9)] == pytest.approx(fill(front(), 9))


def test_a_budget_that_was_left_unused_leaves_no_gap():
    found = [Point(1.0, 1.0, 0.5), Point(16.0, 4.0, 0.8)]
    point = next_point(front(), [1.0, 16.0], found, ERROR)
    assert point.value == pytest.approx(4.0, rel=0.02)  # of the budgets the middle, where a cost of 2 is expected
    found += [Point(4.0, 3.9, 0.79)]
    for _ in range(3):  # whatever is between 4 and 16 leads to a cost of 4
        point = next_point(front(), [p.value for p in found], found, ERROR)
        assert point.value < 4.0
        found.append(Point(point.value, point.value, 0.5))


def test_found_accuracies_move_the_widest_gap():
    def found(point):  # all is gained between 8 and 16, where nothing was expected
        return Point(point.value, point.cost, 0.5 if point.cost < 8 else 0.5 + 0.4 * math.log2(point.cost / 8))

    flat = front(lambda cost: min(math.log2(cost), 2.0))
    assert sum(cost > 8 for cost in fill(flat, 8)) <= 3
    assert sum(cost > 8 for cost in fill(flat, 8, find=found)) >= 4


def test_what_is_not_finished_counts_where_it_is_expected():
    placed = [1.0, 16.0, 4.0]
    assert next_point(front(), placed, [], ERROR).value == pytest.approx(2.0, rel=0.02)
    assert next_point(front(), [*placed, 2.0], [], ERROR).value == pytest.approx(8.0, rel=0.02)


def test_a_dearer_network_that_was_found_no_better_makes_no_gap_of_quality():
    found = [Point(1.0, 1.0, 0.5), Point(4.0, 4.0, 0.9), Point(16.0, 16.0, 0.88)]
    assert next_point(front(), [1.0, 4.0, 16.0], found, ERROR).value < 4.0
    level = [Point(1.0, 1.0, 0.9), Point(16.0, 16.0, 0.89)]  # no gain at all: what was expected still holds
    assert next_point(front(), [1.0, 16.0], level, ERROR).value == pytest.approx(4.0, rel=0.02)


def test_values_may_fall_along_a_front():
    weights = [Point(1.0 / p.cost, p.cost, p.quality) for p in front()]
    assert [1.0 / weight for weight in fill(weights, 9)] == pytest.approx(fill(front(), 9))
    # The dear end came out at 4: weights between lead to less as well.
    found = [Point(1.0, 1.0, 0.5), Point(1 / 16, 4.0, 0.9)]
    assert next_point(weights, [1.0, 1 / 16], found, ERROR).value == pytest.approx(1 / 4, rel=0.02)
