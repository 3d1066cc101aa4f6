"""What the benchmark of budgets calls kept and used: on a made-up target, also with derivations that are broken."""

import itertools
import json
import random
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch

from benchmarks.benches import NUM_WAITS, not_slowed
from benchmarks.budget_hits import CLOSE, Hit, dearest_within, main, measured_once, summary, try_budget
from latency.measuring.measure import Measurement
from orchestrator.plan.requirements import GateConfig
from orchestrator.trial.costs import NetworkCost
from supernet.cost import CostTable
from supernet.derive import Derivation, DeriveSettings, pick
from supernet.errors import RunError
from supernet.pool import Judged, pool_paths
from supernet.presets import load_space
from supernet.rng import generator

SPACE = load_space("scattered-digits")
COUNTS = [len(position.candidates) for position in SPACE.positions]
PATHS = list(itertools.product(*map(range, COUNTS)))
DRAWS = random.Random(1)
COSTS = CostTable("made-up", "ms", 1.0, tuple(tuple(DRAWS.uniform(0.1, 1.0) for _ in range(n)) for n in COUNTS))
SHARES = (0.2, 0.3, 0.5, 0.7, 0.9)


class MadeUp:
    """A target whose networks take a little more or less than its table says, each always the same."""

    costs, table_error, external = COSTS, 0.01, False

    def __init__(self, off: float = 0.02, again: float = 0.0) -> None:
        self.off, self.again = off, again

    def measure(self, path):
        return COSTS.total(path) * (1 + self.off * random.Random(f"path {path}").uniform(-1, 1))

    def deliver(self, path):
        """Return what the file takes: by `again` more than the network before."""
        cost = self.measure(path) * (1 + self.again)
        return NetworkCost(cost, 0.001 * cost, cost, "")


def judge(paths):
    return [Judged(path, 0.5, 3.0 - 0.3 * COSTS.total(path) + 0.01 * (sum(path) % 3)) for path in paths]


def honest(bench, budget):
    probs = torch.nn.functional.one_hot(torch.zeros(len(COUNTS), dtype=torch.int64), max(COUNTS)).double() * 0
    for i, count in enumerate(COUNTS):
        probs[i, :count] = 1 / count

    def derive(table, number):
        question = Derivation(
            probs,
            table,
            budget,
            judge,
            lambda attempt: generator("derive", budget, number, attempt),
            pool=judge(pool_paths(SPACE, 60, 0)),
            measure=bench.measure,
            settings=DeriveSettings(),
        )
        return pick(question).path

    return derive


def hits(bench=None, derived=honest, gate=None):
    """Return what comes of all budgets on a target with a way to derive."""
    bench, found = bench or MadeUp(), []
    for share in SHARES:
        budget = COSTS.minimum + share * (COSTS.maximum - COSTS.minimum)
        came = try_budget(bench, derived(bench, budget), budget, gate or GateConfig())
        found.append(Hit("made-up", 0, budget, dearest_within(COSTS, budget), *came, cpu_seconds=1.0))
    return summary(found)


def test_the_dearest_path_within_a_budget_is_that_of_all():
    for share in (0.0, 0.1, 0.33, 0.8, 1.0):
        budget = COSTS.minimum + share * (COSTS.maximum - COSTS.minimum)
        dearest = max(cost for path in PATHS if (cost := COSTS.total(path)) <= budget)
        assert dearest - 0.1 * CLOSE * budget <= dearest_within(COSTS, budget) <= dearest


def test_the_dearest_path_of_a_large_space_is_found_in_little_memory():
    costs = CostTable("many", "ms", 1.0, tuple(tuple(DRAWS.uniform(0.1, 1.0) for _ in range(7)) for _ in range(21)))
    for share in (0.3, 0.6):
        budget = costs.minimum + share * (costs.maximum - costs.minimum)
        assert (1 - 0.1 * CLOSE) * budget <= dearest_within(costs, budget) <= budget


def test_a_derivation_that_works_keeps_budgets_and_uses_them():
    found = hits(MadeUp(off=0.0))
    assert found["num_budgets"] == 5
    assert found["num_reachable"] >= 4
    for wish in ("predicted_over", "measured_over_before_the_gate", "measured_over_after_the_gate"):
        assert found[wish]["met"], found
    assert found["num_corrected"] == found["num_rejected"] == 0


def test_one_that_exceeds_its_budget_is_seen():
    dear = hits(derived=lambda bench, budget: lambda table, number: max(PATHS, key=COSTS.total))
    assert not dear["predicted_over"]["met"]
    assert not dear["measured_over_before_the_gate"]["met"]
    assert dear["num_rejected"] == 5, "the gate lets none of them through"


def test_one_that_leaves_its_budget_is_seen():
    cheap = hits(derived=lambda bench, budget: lambda table, number: min(PATHS, key=COSTS.total))
    assert cheap["predicted_over"]["met"]
    assert cheap["used_within_1_percent"] == {"value": 0.0, "wanted": ">= 1", "met": False}
    assert cheap["least_used"] < 0.5


def test_files_that_take_more_than_the_networks_before_are_corrected_or_rejected():
    found = hits(MadeUp(again=0.02))
    assert found["num_over_before_the_gate"] >= 2
    assert found["num_corrected"] == found["num_over_before_the_gate"]
    assert found["measured_over_after_the_gate"]["met"]
    assert found["predicted_over"]["met"]
    tolerant = hits(MadeUp(again=0.02), gate=GateConfig(over_budget=0.05))
    assert not tolerant["measured_over_after_the_gate"]["met"], "a gate that is open is seen as well"


def test_a_budget_that_nothing_keeps_any_more_is_rejected():
    bench = MadeUp(off=0.0, again=0.05)
    attempts, reason, after = try_budget(bench, honest(bench, COSTS.minimum), COSTS.minimum, GateConfig())
    assert len(attempts) == 1
    assert "over the budget" in reason
    assert after is None


@pytest.mark.parametrize("share", [0.98, 0.995])
def test_only_budgets_that_some_path_uses_are_asked_to_be_used(share):
    budget, path = COSTS.maximum / share, max(PATHS, key=COSTS.total)
    came = try_budget(MadeUp(0.0), lambda table, number: path, budget, GateConfig())
    found = summary([Hit("made-up", 0, budget, COSTS.total(path), *came, cpu_seconds=1.0)])
    assert found["num_reachable"] == (share >= 0.99)
    assert found["used_within_1_percent"]["met"]


class InTurn(MadeUp):
    """A target that takes given shares of what its table says, one after the other."""

    def __init__(self, *shares):
        super().__init__(off=0.0)
        self.shares, self.external = list(shares), False

    def measure(self, path):
        return COSTS.total(path) * self.shares.pop(0)


def test_the_first_figure_stands_before_the_gate_and_a_new_one_after_it():
    budget, path = COSTS.maximum, max(PATHS, key=COSTS.total)
    came = try_budget(InTurn(1.02, 0.99, 1.01), lambda table, number: path, budget, GateConfig())
    found = summary([Hit("made-up", 0, budget, COSTS.total(path), *came, cpu_seconds=1.0)])
    assert (found["num_corrected"], found["num_rejected"]) == (0, 0)
    assert found["measured_over_before_the_gate"]["value"] == pytest.approx(0.02)
    assert found["measured_over_after_the_gate"] == {"value": 0.01, "wanted": "<= 0", "met": False}
    assert (found["num_over_before_the_gate"], found["num_over_after_the_gate"]) == (1, 1)
    assert (found["num_figures"], found["num_noisy_figures"]) == (3, 0)


def test_only_where_nothing_tells_a_disturbance_a_path_over_the_budget_is_measured_again():
    path, bench = PATHS[0], InTurn(1.1, 0.9)
    budget = COSTS.total(path)
    assert measured_once(bench, budget)(path) == pytest.approx(1.1 * budget)
    assert bench.shares == [0.9]
    alone = InTurn(1.1, 0.9)
    alone.external = True
    measure = measured_once(alone, budget)
    assert [measure(path), measure(path)] == [pytest.approx(0.9 * budget)] * 2


def test_a_figure_of_a_machine_that_slowed_down_is_waited_for_and_never_counts():
    quiet = Measurement(1.0, 0.01, 1.0, 9, None, "")
    slow, noisy, waited = replace(quiet, machine=1.5), replace(quiet, noise="a neighbour"), list[float]()
    figures = iter([slow, slow, slow, slow, quiet])
    assert not_slowed(partial(next, figures), "here", waited.append) == quiet
    assert len(waited) == 1
    assert not_slowed(lambda: noisy, "here", waited.append).noise == "a neighbour"
    with pytest.raises(RunError, match="target here: networks of the latency table are 50% slower"):
        not_slowed(lambda: slow, "here", waited.append)
    assert len(waited) == 1 + NUM_WAITS - 1


def test_a_noisy_figure_over_the_budget_corrects_nothing():
    class Noisy(MadeUp):
        def deliver(self, path):
            return replace(super().deliver(path), noise="a neighbour")

    bench, budget = Noisy(again=0.05), COSTS.maximum
    attempts, reason, after = try_budget(bench, lambda table, number: max(PATHS, key=COSTS.total), budget, GateConfig())
    assert (len(attempts), len(attempts[0].costs), after) == (1, 2, None)
    assert "over the budget" in reason


def test_noisy_figures_are_counted():
    cost = NetworkCost(1.0, 0.1, 1.0, "a neighbour")
    attempts, _, _ = try_budget(MadeUp(0.0), lambda table, number: PATHS[0], COSTS.maximum, GateConfig())
    told = summary([Hit("made-up", 0, COSTS.maximum, COSTS.maximum, attempts, "", cost, 1.0)])
    assert (told["num_figures"], told["num_noisy_figures"]) == (2, 1)


def test_a_whole_run_also_of_a_target_of_ones_own_goes_on_from_what_is_kept(monkeypatch, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("name: mine\nruntime: macs\n")
    given = f"--space scattered-digits --targets {tmp_path / 'mine.yaml'} --fractions 0.3 0.8 --seeds 1"
    given += " --warmup-steps 2 --search-steps 2 --pool-size 4 --candidates 2 --images 64 --json"

    def run():
        monkeypatch.setattr(sys, "argv", ["budget_hits", *given.split(), "--work", str(tmp_path / "runs")])
        main()
        return json.loads(capsys.readouterr().out)

    first = run()
    assert first["by_target"]["mine"]["num_budgets"] == 2
    assert first["cpu_seconds"] > 0
    assert 0 < first["least_used"] <= first["median_used"] <= 1
    assert run() == first
