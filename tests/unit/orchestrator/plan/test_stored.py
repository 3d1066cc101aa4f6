"""What the folder of a sweep tells of its trials: placed points, what is left, results; damaged files are named."""

import pytest

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import (
    Points,
    known_trials,
    num_left,
    read_points,
    stored_result,
    stored_results,
    write_points,
)
from orchestrator.plan.trials import POINTS_FILE, REGISTERED_FILE, RESULT_FILE, Job, Trial, plan_trials
from supernet.errors import RunError
from supernet.plain import to_sealed
from supernet.presets import read_preset


def job_of(folder, **changes):
    definition, _ = read_preset("runs", "quickstart")
    return Job(resolved(check_run({**definition, "storage": str(folder), **changes}, "mine")), "")


A, B, C = (
    Trial("torch-cpu-1t-b2", "torch-cpu-1t", "ms", 2.0),
    Trial("ort-cpu-1t-b3", "ort-cpu-1t", "ms", 3.0),
    Trial("ort-cpu-1t-b1", "ort-cpu-1t", "ms", 1.0),
)


def test_only_trials_with_a_result_are_finished(tmp_path):
    job = job_of(tmp_path)
    first, second, *_ = plan_trials(job.run)
    assert stored_results(job) == {}
    result = TrialResult("quickstart", first.key, first.target, "budget", 0, cost=1.5, top1=0.9)
    job.trial_store(first).write(RESULT_FILE, to_sealed(result).encode())
    assert stored_results(job) == {first.key: result}
    assert stored_result(job, first) == result
    job.trial_store(first).write_json(REGISTERED_FILE, {"model_uri": "models:/a/1"})
    assert stored_results(job)[first.key].model_uri == "models:/a/1"
    assert second.key not in stored_results(job)
    assert num_left(job, [first.key]) == {"torch-cpu-1t": 1, "ort-cpu-1t": 2}
    assert num_left(job, [trial.key for trial in plan_trials(job.run)]) == {}


def test_placed_points_are_the_trials_of_their_sweep(tmp_path):
    job = job_of(tmp_path, sweep={"points": 4})
    assert known_trials(job) == []
    assert num_left(job, []) == {"torch-cpu-1t": 4, "ort-cpu-1t": 4}
    write_points(job, Points((B, A, C)))
    assert known_trials(job) == [A, C, B]
    assert read_points(job).of("ort-cpu-1t") == [B, C], "in the order in which they were placed"
    assert num_left(job, [B.key]) == {"torch-cpu-1t": 4, "ort-cpu-1t": 3}
    write_points(job, Points((A, B, C), full=("torch-cpu-1t",)))
    assert num_left(job, [A.key, B.key]) == {"ort-cpu-1t": 3}
    assert num_left(job_of(tmp_path, sweep={"points": 2}), [A.key, B.key, C.key]) == {}


def test_points_of_another_kind_of_sweep_are_none_of_this_one(tmp_path):
    job = job_of(tmp_path, sweep={"points": 4})
    write_points(job, Points((A, B), full=("ort-cpu-1t",)))
    only = job_of(tmp_path, sweep={"points": 4}, targets=["torch-cpu-1t"])
    assert read_points(only) == Points((A,))
    search = {"num_steps": 9, "objective": {"kind": "add_linear"}}
    assert known_trials(job_of(tmp_path, sweep={"points": 4}, search=search)) == []
    assert known_trials(job_of(tmp_path)) == plan_trials(job_of(tmp_path).run)


def test_damaged_points_are_named_with_the_remedy(tmp_path):
    job = job_of(tmp_path, sweep={"points": 4})
    write_points(job, Points((A,)))
    job.store.write(POINTS_FILE, job.store.read(POINTS_FILE).replace(b"2.0", b"2.5"))
    with pytest.raises(RunError, match=r"points\.json: damaged .*remove it and run the command again"):
        known_trials(job)
