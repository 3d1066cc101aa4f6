"""What is said about room for ranks before Ray waits for it."""

import pytest

from orchestrator.cluster.room import fitting, jobs_at_once, room_notes, runs_here
from orchestrator.plan.workers import WorkersConfig
from supernet.errors import InputError

HEAD = {"memory": 1e9}
EIGHT_GPUS = {"CPU": 64.0, "GPU": 8.0, "train": 1.0}


def notes(nodes, *, max_concurrent=1, embedded=False, **workers):
    return list(room_notes(nodes, WorkersConfig(**workers), max_concurrent, embedded=embedded))


def test_fractions_of_a_processor_add_up():
    assert fitting({"CPU": 1.0}, {"CPU": 0.1}) == 10
    assert fitting({"CPU": 4.0}, {"CPU": 1.0, "GPU": 1.0}) == 0


def test_enough_room_is_not_spoken_of():
    assert notes([HEAD, {"CPU": 2.0}], min=2, max=2) == []
    assert notes([{"CPU": 2.0}], min=1, max=8, embedded=True) == []


def test_one_rank_on_ones_own_machine_is_the_trials_process():
    assert runs_here(WorkersConfig(cpus=2.0), embedded=True)
    assert not runs_here(WorkersConfig(), embedded=False), "the cluster has other machines, and other users"
    assert not runs_here(WorkersConfig(min=1, max=2), embedded=True)
    assert not runs_here(WorkersConfig(gpus=1.0), embedded=True)


def test_too_little_room_on_ones_own_machine_is_refused():
    with pytest.raises(InputError, match=r"workers\.min: 2 ranks with CPU: 1, GPU: 1 each do not fit this machine"):
        notes([{"CPU": 8.0, "GPU": 1.0}], min=2, max=2, gpus=1, embedded=True)


def test_too_little_room_in_a_cluster_is_said_at_once():
    (said,) = notes([HEAD, EIGHT_GPUS], min=3, max=4, gpus=4, resources={})
    assert "room for 2 ranks" in said
    assert "workers.min is 3: waiting for machines to join" in said


@pytest.mark.parametrize(("cpus", "low", "high", "at_once"), [
    (2, 2, 2, 1), (5, 2, 2, 2), (16, 1, 16, 1), (17, 1, 16, 2), (1, 2, 2, 1),
])  # fmt: skip
def test_jobs_run_at_once_where_each_finds_its_ranks_beside_all_that_the_others_take(cpus, low, high, at_once):
    assert jobs_at_once([HEAD, {"CPU": float(cpus)}], WorkersConfig(min=low, max=high)) == at_once


def test_more_trials_at_once_than_there_is_room_for_is_said():
    (said,) = notes([{"CPU": 2.0}], max_concurrent=2, min=2, max=2, embedded=True)
    assert said.endswith("1 at a time, not 2 (max_concurrent)")
    assert notes([{"CPU": 4.0}], max_concurrent=2, min=2, max=2) == []


def test_one_unit_per_machine_is_one_rank_per_machine_and_that_is_said():
    (said,) = notes([HEAD, EIGHT_GPUS, EIGHT_GPUS], min=2, max=16, gpus=1, cpus=8, resources={"train": 1})
    assert "hold the cluster to 2 ranks where its processors have room for 16" in said
    units = {**EIGHT_GPUS, "train": 8.0}
    assert notes([HEAD, units, units], min=2, max=16, gpus=1, cpus=8, resources={"train": 1}) == []
