"""Trials that no table lets begin are found before anything is trained, by the rule of the trials themselves."""

import pytest

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.objectives import limited_by_nothing, objective_settings, require_searchable
from orchestrator.plan.trials import RESULT_FILE, Job, plan_trials
from supernet.cost import CostTable, params_table
from supernet.errors import InputError
from supernet.plain import to_sealed
from supernet.presets import read_preset

MUL_LOG = {"num_steps": 9, "objective": {"kind": "mul_log"}}


def job_of(folder, **changes):
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"targets": ["ort-cpu-1t", "torch-cpu-1t"], "storage": str(folder), **changes}
    return Job(resolved(check_run(definition, "mine")), "")


def from_to(job, least, most):
    """Return a table whose networks take from `least` to `most` milliseconds."""
    first, *others = job.space.positions
    nothing = tuple((0.0,) * len(position.candidates) for position in others)
    return CostTable("board", "ms", least, ((0.0, *[most - least] * (len(first.candidates) - 1)), *nothing))


def test_a_budget_below_every_network_is_told_and_the_others_may_begin(tmp_path):
    job = job_of(tmp_path, sweep={"budgets_ms": [1.0, 3.0]})
    reasons = require_searchable(job, {"ort-cpu-1t": from_to(job, 2.0, 9.0)})
    assert list(reasons) == ["ort-cpu-1t-b1"]
    assert "the space cannot go below 2 ms" in reasons["ort-cpu-1t-b1"]
    assert require_searchable(job, {"ort-cpu-1t": from_to(job, 0.5, 9.0)}) == {}


def test_a_budget_that_every_network_keeps_is_told(tmp_path):
    """Microseconds for milliseconds, say: it was searched for as the largest network there is, without a word."""
    job = job_of(tmp_path, sweep={"budgets_ms": [9.0, 3000.0]})
    assert limited_by_nothing(job, {"ort-cpu-1t": from_to(job, 2.0, 9.0)}) == {
        "ort-cpu-1t-b3000": "every network of the space keeps its budget of 3000.0 ms: the dearest takes 9.000 ms"
    }
    assert limited_by_nothing(job, {}) == {}


def test_a_sweep_of_which_nothing_can_begin_is_refused(tmp_path):
    """Said before, after hours of warm-up, of each trial: the space cannot go below."""
    job = job_of(tmp_path, sweep={"budgets_ms": [0.5, 1.0]})
    high = from_to(job, 2.0, 9.0)
    assert len(require_searchable(job, {"ort-cpu-1t": high})) == 2, "the other target's table is not known yet"
    with pytest.raises(InputError) as error:
        require_searchable(job, dict.fromkeys(job.targets, high))
    assert all(trial.key in str(error.value) for trial in plan_trials(job.run))
    assert "raise the budget" in str(error.value)


def test_a_logarithm_of_less_than_one_is_found_too(tmp_path):
    job = job_of(tmp_path, sweep={"latency_weights": [0.1]}, search=MUL_LOG)
    assert require_searchable(job, dict.fromkeys(job.targets, from_to(job, 1.1, 2.0))) == {}
    with pytest.raises(InputError, match=r"mul_log on board: reference 0\.2 .* must be above 1 ms"):
        require_searchable(job, dict.fromkeys(job.targets, from_to(job, 0.1, 0.3)))


def test_a_budget_that_no_network_keeps_beside_the_limits_is_found_too(tmp_path):
    """The cheapest candidate is the one with the most parameters, so that each alone can be kept and both cannot."""
    sweep = {"budgets_ms": [1.0]}
    params = params_table(job_of(tmp_path, sweep=sweep).space)
    most = max(max(row) for row in params.candidates)
    costs = CostTable("board", "ms", 0.0, tuple(tuple(most - count for count in row) for row in params.candidates))
    costs = costs.scaled(0.5 / max(costs.minimum, 1.0))
    job = job_of(tmp_path, targets=["ort-cpu-1t"], sweep=sweep, limits={"params": int(params.minimum)})
    assert costs.minimum < 1.0 < costs.maximum
    with pytest.raises(InputError, match="ort-cpu-1t-b1"):
        require_searchable(job, {"ort-cpu-1t": costs})


def test_finished_trials_and_points_to_come_are_not_asked_about(tmp_path):
    job = job_of(tmp_path, targets=["ort-cpu-1t"], sweep={"budgets_ms": [1.0]})
    (trial,) = plan_trials(job.run)
    job.trial_store(trial).write(RESULT_FILE, to_sealed(job.result(trial, status="rejected")).encode())
    assert require_searchable(job, {"ort-cpu-1t": from_to(job, 2.0, 9.0)}) == {}
    placed = job_of(tmp_path / "placed", sweep={"points": 4})
    assert require_searchable(placed, dict.fromkeys(placed.targets, from_to(placed, 2.0, 9.0))) == {}


@pytest.mark.parametrize(("sweep", "search", "reference", "weight"), [
    ({"budgets_ms": [3.0]}, {"num_steps": 9}, 3.0, 0.1),
    ({"budget_fractions": [0.25]}, {"num_steps": 9}, 3.0, 0.1),
    ({"latency_weights": [0.3]}, MUL_LOG, 4.0, 0.3),
    ({"latency_weights": [0.3]}, {**MUL_LOG, "objective": {"kind": "add_linear", "reference": 80.0}}, 80.0, 0.3),
])  # fmt: skip
def test_a_trial_sets_its_budget_or_its_weight(tmp_path, sweep, search, reference, weight):
    job = job_of(tmp_path, targets=["ort-cpu-1t"], sweep=sweep, search=search)
    (trial,) = plan_trials(job.run)
    found = objective_settings(job, trial, from_to(job, 2.0, 6.0))
    assert (found.reference, found.weight) == (reference, weight)
