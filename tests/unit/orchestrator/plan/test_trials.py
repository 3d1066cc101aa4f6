"""Names and budgets of trials."""

import pytest

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import Job, Trial, plan_trials, trial_key
from supernet.cost import CostTable
from supernet.errors import InputError
from supernet.plain import check_name
from supernet.presets import read_preset


def config(**changes):
    definition, _ = read_preset("runs", "quickstart")
    return check_run({**definition, **changes}, "mine")


COSTS = CostTable("t", "ms", 1.0, ((0.0, 2.0), (1.0, 3.0)))


def test_one_trial_per_target_and_budget_smallest_first():
    trials = plan_trials(config(sweep={"budgets_ms": [4.0, 2.5]}))
    assert [t.key for t in trials] == ["torch-cpu-1t-b2.5", "torch-cpu-1t-b4", "ort-cpu-1t-b2.5", "ort-cpu-1t-b4"]


def test_budgets_per_target():
    trials = plan_trials(config(sweep={"budgets_ms": {"torch-cpu-1t": [9], "ort-cpu-1t": [1, 2]}}))
    assert [(t.target, t.value) for t in trials] == [("torch-cpu-1t", 9), ("ort-cpu-1t", 1), ("ort-cpu-1t", 2)]


def test_counts_have_their_own_key_and_read_like_counts():
    sweep = {"budgets_ms": [2.5], "budget_counts": {"macs": [40.0e6, 1_234_567], "params": [640]}}
    trials = plan_trials(config(targets=["macs", "ort-cpu-1t", "params"], sweep=sweep))
    assert [t.key for t in trials] == ["macs-1.234567M", "macs-40M", "ort-cpu-1t-b2.5", "params-640"]
    assert [(t.kind, t.value) for t in trials[1:3]] == [("count", 40e6), ("ms", 2.5)]


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        ("ms", 4.0, "t-b4"),
        ("ms", 1e-5, "t-b0.00001"),
        ("ms", 1e9, "t-b1000000000"),
        ("ms", 2.500001, "t-b2.500001"),
        ("fraction", 0.1, "t-f0.1"),
        ("weight", 1e6, "t-w1000000"),
        ("count", 1500.0, "t-1.5k"),
        ("count", 1e15, "t-1000000G"),
    ],
)
def test_a_trial_has_one_name_that_is_one(kind, value, key):
    assert check_name(trial_key("t", kind, value, "mine"), "here") == key


def test_a_name_that_cannot_be_made_is_refused_when_trials_are_planned():
    target = {"name": "x" * 99, "runtime": "torch"}
    with pytest.raises(InputError, match=r"mine\.sweep: 'x+-f0\.1'"):
        config(targets=[target])


def test_points_are_no_trials_before_they_are_placed():
    assert plan_trials(config(sweep={"points": 8})) == []
    with pytest.raises(InputError, match=r"mine\.sweep: 'x+-b0\.00001234'"):
        config(targets=[{"name": "x" * 95, "runtime": "torch"}], sweep={"points": 8})


def test_same_value_twice_is_refused():
    with pytest.raises(InputError, match="stands twice"):
        plan_trials(config(sweep={"budgets_ms": [2.0, 2.0]}))


@pytest.mark.parametrize(
    ("kind", "value", "budget"), [("ms", 3.3, 3.3), ("count", 9, 9), ("fraction", 0.25, 3.0), ("weight", 0.1, 4.0)]
)
def test_budget_of_a_trial(kind, value, budget):
    assert Trial("k", "t", kind, value).reference(COSTS) == pytest.approx(budget)
    assert Trial("k", "t", kind, value).reference(COSTS, 7.0) == pytest.approx(7.0 if kind == "weight" else budget)
    assert Trial("k", "t", kind, value).budget(COSTS) == (None if kind == "weight" else pytest.approx(budget))


def test_a_result_has_what_was_asked_of_its_trial_also_where_it_failed():
    """Said before: no budget, where nothing else came of it."""
    job, failed = Job(resolved(config()), ""), {"status": "failed", "reason": "not finished"}
    asked = {}
    for kind, value in (("ms", 3.3), ("fraction", 0.25), ("weight", 0.1), ("baseline", 4.0)):
        result = job.result(Trial("k", "ort-cpu-1t", kind, value), **failed)
        asked[kind] = (result.budget, result.latency_weight)
    assert asked == {"ms": (3.3, None), "fraction": (None, None), "weight": (None, 0.1), "baseline": (None, None)}


def test_unknown_target_of_a_job():
    job = Job(resolved(config()), "")
    assert job.target("ort-cpu-1t").runtime == "onnxruntime"
    with pytest.raises(InputError, match="no target 'x'"):
        job.target("x")
