"""What a sweep's figures were measured on: noted, compared once a trial has begun, and not before."""

import pytest

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.machines import FOLDER, require_same, versions_of
from orchestrator.plan.trials import Job, plan_trials
from supernet.errors import InputError
from supernet.presets import read_preset

HERE, THERE = {"cpu": "A", "versions": {"onnxruntime": "1.2"}}, {"cpu": "B", "versions": {"onnxruntime": "1.2"}}


@pytest.fixture
def job(tmp_path):
    definition, place = read_preset("runs", "quickstart")
    return Job(resolved(check_run({**definition, "storage": str(tmp_path)}, place)), "")


def begin(job, target):
    trial = next(trial for trial in plan_trials(job.run) if trial.target == target)
    job.trial_store(trial).write("any", b"")


def test_figures_of_two_machines_do_not_meet_on_one_front(job):
    """Said before: nothing; the table was measured anew and replaced."""
    require_same(job, "ort-cpu-1t", HERE)
    require_same(job, "ort-cpu-1t", THERE)  # nothing has begun
    begin(job, "ort-cpu-1t")
    require_same(job, "ort-cpu-1t", THERE)
    with pytest.raises(
        InputError, match=r'^ort-cpu-1t: .*\(cpu: "B" in the table, "A" here\).*--name.*ort-cpu-1t\.json'
    ):
        require_same(job, "ort-cpu-1t", HERE)
    require_same(job, "torch-cpu-1t", HERE)  # none of its own has


def test_the_note_can_be_removed_to_go_on_elsewhere(job):
    require_same(job, "ort-cpu-1t", HERE)
    begin(job, "ort-cpu-1t")
    job.store.child(FOLDER).remove("ort-cpu-1t.json")
    require_same(job, "ort-cpu-1t", THERE)
    with pytest.raises(InputError):
        require_same(job, "ort-cpu-1t", HERE)


def test_a_damaged_note_is_named(job):
    require_same(job, "ort-cpu-1t", HERE)
    begin(job, "ort-cpu-1t")
    job.store.child(FOLDER).write("ort-cpu-1t.json", b"{")
    with pytest.raises(InputError, match=r"machines/ort-cpu-1t\.json"):
        require_same(job, "ort-cpu-1t", HERE)


def test_the_versions_of_what_was_measured_are_known_again(job):
    assert versions_of(job, "ort-cpu-1t") == {}
    require_same(job, "ort-cpu-1t", HERE)
    assert versions_of(job, "ort-cpu-1t") == {"onnxruntime": "1.2"}
    require_same(job, "gpixel1", {"published": "pixel1"})
    assert versions_of(job, "gpixel1") == {}
