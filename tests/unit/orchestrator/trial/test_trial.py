"""What a trial came to: the gate that makes a network doubtful, its unit, and the line that tells of it."""

import pytest
from rich.text import Text

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import Job, plan_trials
from orchestrator.sweep import describe
from orchestrator.trial.records import NetworkCost
from orchestrator.trial.trial import _doubt
from supernet.presets import read_preset


def measured(ms, noise=""):
    return NetworkCost(ms, 0.01, ms * 1.1, noise)


@pytest.mark.parametrize(
    ("cost", "predicted", "budget", "said"),
    [
        (measured(1.0), 1.02, 1.1, ""),
        (measured(1.0), 1.02, None, ""),
        (measured(1.0), 0.8, 1.1, "measured 1.000 ms, predicted 0.800 ms (+25%)"),
        (measured(1.2), 1.15, 1.1, "over the budget of 1.100 ms"),
        (measured(1.0, "load 3"), 1.02, 1.1, "noisy measurement: load 3"),
    ],
)
def test_doubt_names_what_does_not_agree(cost, predicted, budget, said):
    doubt = _doubt(cost, predicted, budget, "ms")
    assert said in doubt
    assert bool(doubt) == bool(said)


def test_counts_are_named_as_counts():
    assert _doubt(NetworkCost.counted(5.2e6), 5.2e6, 5e6, "1") == "measured 5.2 M is over the budget of 5 M"


def test_every_result_has_the_unit_of_its_target():
    definition, _ = read_preset("runs", "quickstart")
    changes = {"targets": ["macs", "ort-cpu-1t"], "sweep": {"budget_fractions": [0.5]}}
    job = Job(resolved(check_run({**definition, **changes}, "mixed")), "")
    trials = plan_trials(job.run)
    made = [(job.result(trial, cost=5.2e6, budget=6e6, top1=0.9), trial) for trial in trials]
    assert [result.unit for result, _ in made] == ["1", "ms"]
    assert describe(made[0][0]) == "macs-f0.5: top-1 90.0%, 5.2 M of 6 M"
    assert describe(made[1][0]) == "ort-cpu-1t-f0.5: top-1 90.0%, 5200000.0 ms of 6000000.0 ms"


def test_a_reason_with_brackets_is_told_as_it_stands():
    definition, _ = read_preset("runs", "quickstart")
    job = Job(resolved(check_run(definition, "quickstart")), "")
    trial = plan_trials(job.run)[0]
    line = describe(job.result(trial, status="failed", reason="no file [/data/x] here"))
    assert Text.from_markup(line).plain == f"{trial.key}: failed: no file [/data/x] here"
