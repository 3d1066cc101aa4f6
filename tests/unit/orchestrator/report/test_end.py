"""What is said of a trial that ended, and which ends of a sweep are none to be content with."""

import pytest
from report_cases import FAILED, REJECTED, done
from rich.text import Text

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import Job, plan_trials
from orchestrator.report.end import SweepEnd, describe, require_success
from supernet.errors import RunError
from supernet.presets import read_preset

DONE = done("best", "ort", 2.0, 0.95)


def job_of(**changes):
    definition, _ = read_preset("runs", "quickstart")
    return Job(resolved(check_run({**definition, **changes}, "night")), "")


def test_one_network_that_passed_is_enough_where_none_failed():
    require_success(SweepEnd(job_of(), [DONE, REJECTED]))
    with pytest.raises(
        RunError, match=r"every network of quickstart was rejected \(off: 30 % slower than <predicted>\)"
    ):
        require_success(SweepEnd(job_of(), [REJECTED]))


def test_failed_trials_are_named_with_their_reasons():
    with pytest.raises(RunError, match=r"1 of 2 trials failed \(lost: board <lost>\); once .* tries again"):
        require_success(SweepEnd(job_of(), [DONE, FAILED]))


def test_what_is_not_registered_hides_no_reason_of_a_trial():
    """Said before: that results could not be registered, and nothing else of the night."""
    left = "everything is stored, but 1 of 2 results could not be registered (MLflow is away)"
    with pytest.raises(RunError, match=r"^everything is stored, .*MLflow is away\)$"):
        require_success(SweepEnd(job_of(), [DONE], unregistered=left))
    with pytest.raises(RunError, match=r"1 of 2 trials failed \(lost: board <lost>\); .*\n  everything is stored, "):
        require_success(SweepEnd(job_of(), [DONE, FAILED], unregistered=left))
    with pytest.raises(RunError, match=r"was rejected \(.*\)\n  everything is stored, "):
        require_success(SweepEnd(job_of(), [REJECTED], unregistered=left))


def test_points_that_could_not_be_placed_are_counted(tmp_path):
    job = job_of(targets=["ort-cpu-1t"], sweep={"points": 3}, storage=str(tmp_path))
    end = SweepEnd(job, [DONE])
    assert end.unplaced == {"ort-cpu-1t": 3}
    with pytest.raises(RunError, match=r"without a cost table \(3 on ort-cpu-1t\)"):
        require_success(end)
    with pytest.raises(RunError, match=r"\(3 on ort-cpu-1t: no node measured it\)"):
        require_success(SweepEnd(job, [DONE], reasons={"ort-cpu-1t": "no node measured it"}))
    assert SweepEnd(job_of(), [DONE]).unplaced == {}


def test_every_result_has_the_unit_of_its_target():
    job = job_of(targets=["macs", "ort-cpu-1t"], sweep={"budget_fractions": [0.5]})
    trials = plan_trials(job.run)
    made = [(job.result(trial, cost=5.2e6, budget=6e6, top1=0.9), trial) for trial in trials]
    assert [result.unit for result, _ in made] == ["1", "ms"]
    assert describe(made[0][0]) == "macs-f0.5: top-1 90.0%, 5.2 M of 6 M"
    assert describe(made[1][0]) == "ort-cpu-1t-f0.5: top-1 90.0%, 5200000.0 ms of 6000000.0 ms"


def test_a_reason_with_brackets_is_told_as_it_stands():
    job = job_of()
    trial = plan_trials(job.run)[0]
    line = describe(job.result(trial, status="failed", reason="no file [/data/x] here"))
    assert Text.from_markup(line).plain == f"{trial.key}: failed: no file [/data/x] here"
