"""Limits beside the budget: what they let through, what they add to an objective, and a search that keeps them."""

import math
from dataclasses import replace

import pytest
import torch
from supernet_tiny import TinyData, all_paths_of, tiny_costs, tiny_space, tiny_supernet

from supernet.cost import CostTable, macs_table, params_table
from supernet.derive import STRATEGIES, Derivation, DeriveSettings, by_chance, pick
from supernet.errors import InputError
from supernet.limits import NO_LIMITS, Limit, Limits
from supernet.loop import Search
from supernet.objective import LimitTerm, ObjectiveSettings, make_objective
from supernet.pool import Judged
from supernet.proposals import best_within, candidates_within, most_cost
from supernet.prune import PruneSettings
from supernet.rng import generator
from supernet.search_settings import SearchSettings

SPACE = tiny_space(blocks=2)
COSTS = tiny_costs(SPACE)
PARAMS, MACS = params_table(SPACE), macs_table(SPACE)
PATHS = all_paths_of(SPACE)


def limit_at(table: CostTable, share: float) -> Limit:
    return Limit(table, table.minimum + share * (table.maximum - table.minimum))


LIMITS = Limits((limit_at(PARAMS, 0.5),), forbidden=((0, 2),))


def settings_of(num_steps: int = 12, **objective: object) -> SearchSettings:
    reference = 0.8 * COSTS.maximum
    return SearchSettings(
        num_steps=num_steps, batch_size=8, arch_every=1, arch_learning_rate=0.3,
        objective=ObjectiveSettings(**{"kind": "budget", "reference": reference, "dual_rate": 0.5} | objective),
    )  # fmt: skip


def search_of(settings: SearchSettings, limits: Limits = NO_LIMITS) -> Search:
    return Search(tiny_supernet(SPACE), COSTS, settings, TinyData(SPACE), seed=0, limits=limits)


def test_a_path_keeps_sums_and_takes_nothing_that_is_forbidden() -> None:
    for path in PATHS:
        assert LIMITS.keep(path) == (path[0] != 2 and PARAMS.total(path) <= LIMITS.sums[0].most)
        assert NO_LIMITS.keep(path)
    assert LIMITS.mask((3, 3)).nonzero().tolist() == [[0, 2]]


def test_the_best_path_and_draws_keep_all_limits() -> None:
    kept = [path for path in PATHS if LIMITS.keep(path)]
    for seed in range(20):
        probs = torch.softmax(2 * torch.randn(3, 3, generator=generator("probs", seed), dtype=torch.float64), 1)
        chance = {path: math.prod(float(probs[i, j]) for i, j in enumerate(path)) for path in kept}
        for share in (0.3, 0.6, 2.0):
            budget = COSTS.minimum + share * (COSTS.maximum - COSTS.minimum)
            fitting = [path for path in kept if COSTS.total(path) <= budget]
            best = best_within(probs.log(), COSTS, budget, LIMITS)
            assert chance[best] == pytest.approx(max(chance[path] for path in fitting))
            drawn = candidates_within(probs, COSTS, budget, 5, generator("draw", seed), 0.1, LIMITS)
            assert set(drawn) <= set(fitting)
            largest = max(COSTS.total(path) for path in fitting)
            assert all(COSTS.total(path) >= 0.9 * largest or path == best for path in drawn)
        free = candidates_within(probs, COSTS, None, 5, generator("free", seed), 0.1, LIMITS)
        assert set(free) <= set(kept)
        assert free[0] == max(kept, key=chance.__getitem__)


@pytest.mark.parametrize("budget", [COSTS.minimum * 1.2, 0.9 * COSTS.maximum, None])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_keeps_them_and_so_does_chance(strategy, budget) -> None:
    probs = torch.full((3, 3), 1 / 3, dtype=torch.float64)

    def judge(paths):  # the more parameters, the better
        return [Judged(path, 0.5, 2.0 - PARAMS.total(path) / PARAMS.maximum) for path in paths]

    question = Derivation(
        probs, COSTS, budget, judge, lambda attempt: generator("derive", attempt), pool=judge(PATHS[::3]),
        limits=LIMITS, settings=DeriveSettings(strategy=strategy, num_candidates=4),
    )  # fmt: skip
    found = pick(question)
    assert LIMITS.keep(found.path)
    assert budget is None or COSTS.total(found.path) <= budget
    assert all(LIMITS.keep(chance.path) for chance in by_chance(question, found.path, 4, generator("chance")))


def test_a_term_is_the_augmented_lagrangian_of_its_limit() -> None:
    term = LimitTerm(LIMITS.sums[0], ObjectiveSettings(dual_rate=0.5, damping=2.0))
    term.multiplier = 0.7
    for probs in (torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64).flip(1)):
        excess = float(PARAMS.expected(probs)) / LIMITS.sums[0].most - 1
        assert float(term(probs)) == pytest.approx(0.7 * excess + max(0.0, excess) ** 2)
        assert term.has_room(probs) == (excess < -0.2)
        before = term.multiplier
        term.update(probs)
        assert term.multiplier == pytest.approx(max(0.0, before + 0.5 * excess))
        term.multiplier = before


def test_without_limits_nothing_is_added() -> None:
    objective = make_objective(ObjectiveSettings(reference=COSTS.maximum), COSTS)
    value = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert objective.with_limits(value, torch.eye(3, dtype=torch.float64)) is value
    assert objective.terms == []


def alpha_of(search: Search) -> torch.Tensor:
    while not search.done:
        search.step()
    return search.alpha.logits.detach().clone()


def test_a_limit_that_never_binds_moves_nothing() -> None:
    free = alpha_of(search_of(settings_of()))
    wide = alpha_of(search_of(settings_of(damping=1.0), Limits((Limit(PARAMS, 1e9),))))
    assert torch.equal(free, wide)


def test_a_search_ends_within_all_limits_in_expectation() -> None:
    """By gradient alone, under an objective that asks for nothing."""
    limits = Limits((limit_at(PARAMS, 0.15), limit_at(MACS, 0.15)))
    search = search_of(settings_of(60, kind="add_linear", weight=0.0), limits)

    def shares() -> list[float]:
        return [1 + float(term.excess(search.alpha.probs().detach())) for term in search.objective.terms]

    assert min(shares()) > 1.05
    highest = [0.0, 0.0]
    while not search.done:
        search.step()
        highest = [max(high, term.multiplier) for high, term in zip(highest, search.objective.terms, strict=True)]
    assert max(shares()) < 1.05
    assert min(highest) > 0


def test_a_forbidden_candidate_is_dropped_before_the_first_step() -> None:
    search = search_of(settings_of(), LIMITS)
    assert search.alpha.probs()[0, 2] == 0
    assert search.supernet.layers[search.supernet.position_layers[0]].living() == [0, 1]


def test_forbidden_candidates_count_neither_in_the_entropy_at_the_start_nor_in_uniform_shares() -> None:
    settings = replace(settings_of(), prune=PruneSettings(threshold=0.98, start=0.0, patience=1, every=1))
    search, again = search_of(settings, LIMITS), search_of(settings, LIMITS)
    alpha_of(search)
    assert search.alpha.alive.sum() < 8, "some are dropped"
    again.load_state_dict(search.state_dict())
    for either in (search, again):
        assert either.start_entropy == pytest.approx((math.log(2) + 2 * math.log(3)) / 3)
        assert either.pruner.num_candidates.flatten().tolist() == [2, 3, 3]


@pytest.mark.parametrize("cut", [1, 7])
def test_a_resumed_search_ends_bit_for_bit(cut) -> None:
    settings = settings_of()
    whole = search_of(settings, LIMITS)
    alpha = alpha_of(whole)
    first, second = search_of(settings, LIMITS), search_of(settings, LIMITS)
    for _ in range(cut):
        first.step()
    second.load_state_dict(first.state_dict())
    assert torch.equal(alpha_of(second), alpha)
    assert [t.multiplier for t in second.objective.terms] == [t.multiplier for t in whole.objective.terms]


@pytest.mark.parametrize("kind", ["add_linear", "budget"])
def test_pruning_spares_the_fewest_candidates_that_leave_a_path_in_all_limits(kind) -> None:
    partly = 0
    for seed in range(60):
        share = 0.05 + 0.1 * (seed % 5)
        limits = Limits((limit_at(PARAMS, share), limit_at(MACS, share + 0.1)))
        objective = make_objective(ObjectiveSettings(kind, reference=0.8 * COSTS.maximum), COSTS, limits)
        alive = torch.ones(3, 3, dtype=torch.bool)
        doomed = torch.rand(3, 3, generator=generator("doomed", seed)) < 0.6
        doomed[torch.arange(3), torch.randint(3, (3,), generator=generator("best", seed))] = False
        going = objective.spared(doomed, alive)
        wanted = objective.spare(doomed, alive)
        most = objective.reference if objective.limited else math.inf
        kept = [path for path in PATHS if limits.keep(path) and COSTS.total(path) <= most]
        spared = wanted & ~going
        assert (going <= wanted).all()
        assert any(not any(going[i, j] for i, j in enumerate(path)) for path in kept)
        assert int(spared.sum()) == min(sum(int(wanted[i, j]) for i, j in enumerate(path)) for path in kept)
        partly += bool(spared.any() and going.any())
    assert partly > 5, "one that is needed does not keep the others"


def test_a_search_drops_what_is_improbable_but_for_what_its_limits_need() -> None:
    prune = PruneSettings(threshold=0.9, start=0.0, patience=1, every=1)
    search = search_of(replace(settings_of(40), prune=prune), Limits((Limit(PARAMS, PARAMS.minimum),)))
    needed, likely = PARAMS.matrix.argmin(1), PARAMS.matrix.argmax(1)
    with torch.no_grad():
        search.alpha.logits.zero_().scatter_(1, needed[:, None], -3.0).scatter_(1, likely[:, None], 3.0)
    search.step()
    wanted = torch.zeros(3, 3, dtype=torch.bool).scatter_(1, needed[:, None], True).scatter_(1, likely[:, None], True)
    assert torch.equal(search.alpha.alive, wanted)


def test_a_supernet_that_one_search_pruned_serves_another_under_the_same_limits() -> None:
    """Before: what was gone was called, or dropped again."""
    first = search_of(replace(settings_of(), prune=PruneSettings(0.98, start=0.0, patience=1, every=1)), LIMITS)
    alpha_of(first)
    alive = first.alpha.alive.clone()
    assert 3 <= alive.sum() < 8, "some are dropped"
    for settings in (settings_of(), replace(settings_of(), arch_every=0), replace(settings_of(), train_weights=False)):
        again = Search(first.supernet, COSTS, settings, TinyData(SPACE), seed=1, limits=LIMITS)
        alpha_of(again)
        assert torch.equal(again.alpha.alive, alive)
        assert torch.equal(again.alpha.probs() > 0, alive)


def test_what_a_pruned_supernet_cannot_keep_is_refused_and_drops_nothing() -> None:
    supernet = tiny_supernet(SPACE)
    cheap = tuple((i, int(COSTS.matrix[i].argmin())) for i in range(3))
    Search(supernet, COSTS, settings_of(), TinyData(SPACE), seed=0, limits=Limits(forbidden=cheap))
    left = [supernet.layers[i].living() for i in supernet.position_layers]
    for limits in (Limits((Limit(MACS, MACS.minimum),)), Limits(forbidden=tuple((1, j) for j in left[1]))):
        for settings in (settings_of(), replace(settings_of(), arch_every=0)):
            with pytest.raises(InputError, match="no path keeps all limits"):
                Search(supernet, COSTS, settings, TinyData(SPACE), seed=0, limits=limits)
    with pytest.raises(InputError, match="the cheapest remaining path takes"):
        Search(supernet, COSTS, settings_of(reference=COSTS.minimum), TinyData(SPACE), seed=0)
    assert [supernet.layers[i].living() for i in supernet.position_layers] == left


@pytest.mark.parametrize("sums", [(), LIMITS.sums])
def test_limits_that_forbid_every_candidate_of_a_position_are_refused_with_its_number(sums) -> None:
    """Before: `ValueError: min() iterable argument is empty`."""
    limits = Limits(sums, forbidden=((1, 0), (1, 1), (1, 2)))
    for refused in (
        lambda: search_of(settings_of(), limits),
        lambda: search_of(replace(settings_of(), arch_every=0), limits),
        lambda: candidates_within(torch.full((3, 3), 1 / 3), COSTS, None, 5, generator("draw"), 0.1, limits),
        lambda: most_cost(COSTS, limits),
    ):
        with pytest.raises(InputError, match="each of the 3 candidates at position 1 "):
            refused()


def test_limits_that_contradict_each_other_are_refused() -> None:
    against = CostTable("against", "1", 1.0, tuple(tuple(max(row) - cost for cost in row) for row in PARAMS.candidates))
    limits = Limits((limit_at(PARAMS, 0.1), limit_at(against, 0.1)))
    assert not any(limits.keep(path) for path in PATHS)
    with pytest.raises(InputError, match=r"no path keeps all limits: tiny-target .* params .* against"):
        search_of(settings_of(), limits)
