"""Picking a path: by each strategy, within a budget that a measurement must keep, on made-up costs and verdicts."""

import pytest
import torch
from pydantic import ValidationError

from supernet.cost import CostTable
from supernet.derive import (
    MIN_EXCESS,
    NUM_ATTEMPTS,
    NUM_MEASURED,
    STRATEGIES,
    Derivation,
    DeriveSettings,
    by_chance,
    judged,
    pick,
)
from supernet.pool import Judged
from supernet.proposals import most_probable_within
from supernet.rng import generator

COSTS = CostTable("made-up", "ms", 1.0, ((1.0, 2.0, 4.0), (1.0, 2.0, 4.0), (1.0, 2.0, 4.0)))
PROBS = torch.tensor([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3]], dtype=torch.float64)

PATHS = [tuple(path) for path in torch.cartesian_prod(*[torch.arange(3)] * 3).tolist()]
POOL = [(0, 0, 0), (1, 0, 2), (2, 1, 0), (0, 2, 1), (1, 1, 1), (2, 2, 2), (0, 1, 2), (1, 2, 0)]


def question(budget, judge=None, **options):
    settings = DeriveSettings(**{"num_candidates": 6, "slack": 0.3, **options.pop("settings", {})})
    judge = judge or (lambda path: (0.5, 2.0 - 0.1 * sum(path)))

    def judge_all(paths):
        return [Judged(path, *judge(path)) for path in paths]

    if "pool" not in options:
        options["pool"] = judge_all(POOL)
    return Derivation(PROBS, COSTS, budget, judge_all, lambda n: generator("derive", n), settings=settings, **options)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("budget", [None, 4.0, 6.5, 9.0, 20.0])
def test_every_strategy_keeps_the_budget(strategy, budget):
    derived = pick(question(budget, settings={"strategy": strategy}))
    assert budget is None or COSTS.total(derived.path) <= budget
    assert derived.measured == ({derived.path: COSTS.total(derived.path)} if budget else {})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_takes_a_candidate_that_was_dropped(strategy):
    pruned = PROBS.clone()
    pruned[0, 2] = pruned[2, 1] = 0.0
    asked = question(9.0, settings={"strategy": strategy})
    asked.probs = pruned
    derived = pick(asked)
    assert all(pruned[i, j] > 0 for i, j in enumerate(derived.path))
    assert all(pruned[i, j] > 0 for path in asked.judged for i, j in enumerate(path))


def test_a_pool_finds_the_best_path_within_the_budget_whatever_is_probable():
    effects = ((0.3, 0.0, 0.2), (0.0, 0.1, 0.4), (0.5, 0.3, 0.0))
    loss = lambda path: sum(row[j] for row, j in zip(effects, path, strict=True))  # noqa: E731
    for budget in (4.0, 5.0, 6.0, 7.0, 9.0):
        best = min((path for path in PATHS if COSTS.total(path) <= budget), key=loss)
        derived = pick(question(budget, lambda path: (0.5, loss(path)), settings={"strategy": "pool"}))
        assert derived.path == best


def test_a_pool_that_is_given_is_not_judged_again_and_serves_another_budget():
    asked = []

    def judge(path):
        asked.append(path)
        return 0.5, 2.0 - 0.1 * sum(path)

    first = question(9.0, judge, settings={"strategy": "pool"})
    assert len(asked) == len(POOL)
    pick(first)
    num_asked = len(asked)
    second = question(6.0, judge, settings={"strategy": "pool"}, pool=first.known)
    assert len(POOL) < num_asked == len(set(asked))
    derived = pick(second)
    assert set(asked[num_asked:]).isdisjoint(asked[:num_asked])
    assert set(derived.judged).isdisjoint(first.known)
    assert COSTS.total(derived.path) <= 6.0


def test_the_path_with_the_least_loss_is_taken_whatever_its_top1_and_every_verdict_is_returned():
    derived = pick(question(9.0, lambda path: (1.0 / (1 + sum(path)), 2.0 - 0.1 * sum(path))))
    assert len(derived.judged) > 1
    assert len({found.loss for found in derived.judged}) > 1
    best = min(derived.judged, key=lambda found: found.loss)
    assert best.loss == 2.0 - 0.1 * sum(derived.path)
    assert best.top1 < max(found.top1 for found in derived.judged)


@pytest.mark.parametrize("strategy", ["judged", "pool", "judged-pool"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_as_many_paths_are_judged_as_are_asked_for(strategy, count):
    """Before: two where `judged-pool` was asked for one."""
    far = [Judged((0, 0, 0), 0.5, 2.0), Judged((2, 2, 2), 0.5, 1.4)]
    derived = pick(question(9.0, settings={"strategy": strategy, "num_candidates": count}, pool=far))
    assert len(derived.judged) == count


def test_a_further_attempt_ranks_what_was_judged_before_too():
    """Before: only what it drew itself, however much better a judged path within the lowered limit was."""
    loss = lambda path: 2.0 - 0.3 * path[0] - 0.2 * path[1] - 0.1 * path[2]  # noqa: E731
    asked = question(9.0, lambda path: (0.5, loss(path)), pool=(), settings={"num_candidates": 4})
    asked.judge(POOL)
    earlier = {path for path in POOL if COSTS.total(path) <= 7.5}
    ranked = judged(asked, 7.5, generator("second"))
    assert ranked == sorted((path for path in asked.judged if COSTS.total(path) <= 7.5), key=loss)
    drawn = asked.close(PROBS, 7.5, 4, generator("second"))
    assert set(ranked) == earlier | set(drawn) > set(drawn)


def test_the_most_probable_path_is_taken_without_judging():
    def refuse(path):
        raise AssertionError

    derived = pick(question(6.5, refuse, settings={"strategy": "most-probable"}, pool=()))
    assert derived.path == most_probable_within(PROBS, COSTS, 6.5)
    assert derived.judged == ()


def test_a_device_that_is_slower_than_its_table_gets_a_smaller_network_that_keeps_the_budget():
    derived = pick(question(9.0, measure=lambda path: 1.3 * COSTS.total(path)))
    assert 1.3 * COSTS.total(derived.path) <= 9.0
    assert all(1.3 * COSTS.total(path) > 9.0 for path in derived.measured if path != derived.path)


def test_chance_gets_as_many_paths_as_are_asked_for_the_pools_first():
    """Before: those of the pool alone where it had any, however few."""
    asked = question(9.0)
    close = [path for path in POOL if 0.7 * 9.0 <= COSTS.total(path) <= 9.0]
    assert [found.path for found in by_chance(asked, (0, 0, 0), 2, generator(0))] == close[:2]
    assert not asked.judged
    count = len(close) + 3
    found = [one.path for one in by_chance(asked, (0, 0, 0), count, generator(0))]
    assert len(set(found)) == count
    assert found == [*close, *asked.judged]
    alone = question(9.0, pool=())
    found = by_chance(alone, (0, 0, 0), 4, generator(0))
    assert {one.path: one for one in found} == alone.judged
    assert len(found) == 4
    for drawn in (asked, alone):
        assert all(0.7 * 9.0 <= COSTS.total(path) <= 9.0 for path in drawn.judged)
    assert by_chance(question(None), (0, 0, 0), 4, generator(0)) == []


def test_neither_the_derived_path_nor_one_through_a_dropped_candidate_is_chance():
    asked = question(9.0)
    derived = next(path for path in POOL if 0.7 * 9.0 <= COSTS.total(path) <= 9.0)
    asked.probs = PROBS.clone()
    asked.probs[0, 2] = 0.0
    close = {path for path in PATHS if 0.7 * 9.0 <= COSTS.total(path) <= 9.0}
    assert any(path[0] == 2 for path in close & set(POOL))
    found = {one.path for one in by_chance(asked, derived, 50, generator(0))}
    assert found == {path for path in close if path[0] != 2} - {derived}


def test_where_nothing_keeps_the_budget_the_cheapest_measured_path_is_returned():
    derived = pick(question(9.0, measure=lambda path: 100.0 + COSTS.total(path)))
    assert derived.path == min(derived.measured, key=derived.measured.__getitem__)
    assert len(derived.measured) <= NUM_ATTEMPTS * NUM_MEASURED


def test_a_hair_over_the_budget_moves_the_limit_by_the_least_excess():
    first = most_probable_within(PROBS, COSTS, 8.0)
    assert COSTS.total(first) == 8.0
    derived = pick(question(8.0, measure=lambda path: 8.001, settings={"strategy": "most-probable"}))
    assert list(derived.measured)[:2] == [first, most_probable_within(PROBS, COSTS, 8.0 / MIN_EXCESS)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_limits_only_fall_also_where_nothing_is_left_to_measure(strategy, monkeypatch):
    """Before: up to the budget over `MIN_EXCESS` again, once the cheapest path had been measured over it."""
    limits, propose = [], STRATEGIES[strategy]

    def noted(question, limit, draws):
        limits.append(limit)
        return propose(question, limit, draws)

    monkeypatch.setitem(STRATEGIES, strategy, noted)
    budget = 1.02 * COSTS.minimum
    pick(question(budget, measure=lambda path: 1.05 * COSTS.total(path), settings={"strategy": strategy}))
    assert limits == [budget, COSTS.minimum, COSTS.minimum]


def test_what_was_measured_over_the_budget_takes_no_place_of_a_further_attempt(monkeypatch):
    paths = sorted(set(POOL))[: 2 * NUM_MEASURED]
    monkeypatch.setitem(STRATEGIES, "pool", lambda question, limit, draws: paths)
    keeps = {paths[-1]: 8.0}
    derived = pick(question(9.0, measure=lambda path: keeps.get(path, 10.0), settings={"strategy": "pool"}))
    assert derived.path == paths[-1]
    assert list(derived.measured) == paths


def test_one_figure_far_off_does_not_move_the_limit_for_all():
    """The first path is measured half as slow again as its table says, all others by a twentieth."""
    first = pick(question(9.0)).path
    derived = pick(question(9.0, measure=lambda path: (1.5 if path == first else 1.05) * COSTS.total(path)))
    assert first in derived.measured
    assert 9.0 / 1.5 < COSTS.total(derived.path) <= 9.0 / 1.05


def test_a_path_is_judged_and_measured_once_and_progress_is_told():
    judged, measured, told = [], [], []
    made = question(
        9.0,
        lambda path: judged.append(path) or (0.5, 1.0),
        measure=lambda path: measured.append(path) or 1.01 * 9.0,
        tell=lambda what, step, num_steps: told.append((what, step, num_steps)),
    )
    pick(made)
    assert len(set(judged)) == len(judged)
    assert len(set(measured)) == len(measured)
    first = sum(what == "judge" and step == 0 for what, step, _ in told)
    assert first == 1
    assert all(step < num_steps for what, step, num_steps in told if what == "judge")


def test_wrong_settings_name_what_is_allowed():
    with pytest.raises(ValidationError, match="'judged', 'pool', 'judged-pool' or 'most-probable'"):
        DeriveSettings(strategy="probable")
    for wrong in ({"slack": 1.0}, {"num_candidates": 0}, {"max_validation_images": -1}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            DeriveSettings(**wrong)
