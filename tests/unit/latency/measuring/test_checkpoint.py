"""Samples of an unfinished run: there and back, of the same job only."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency.measuring.checkpoint import EVERY_SECONDS, Checkpoint
from latency.measuring.job import Item, Job
from latency.measuring.timing import Plan, Samples
from latency.target import load_target

SAMPLES = {
    "a": Samples(ms=[1.5, 0.1 + 0.2], clean=[True, False], phases=[0, 1], visits=[0, 3]),
    "b": Samples(ms=[7.0], clean=[True], phases=[0], visits=[1]),
}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(load_target("ort-cpu-1t"), (Item("a"), Item("b")), work_folder=str(tmp_path))


def test_there_and_back_to_the_last_bit(job: Job) -> None:
    Checkpoint.of(job).save(SAMPLES, {1, 0}, 3.0)
    assert Checkpoint.of(job).load() == (SAMPLES, {0, 1})


def test_more_time_or_another_folder_is_the_same_job_and_another_item_is_not(job: Job, tmp_path: Path) -> None:
    name = Checkpoint.of(job).file.name
    assert Checkpoint.of(replace(job, plan=Plan(seconds=99.0))).file.name == name
    assert Checkpoint.of(replace(job, work_folder=str(tmp_path / "b"))).file.name == name
    assert Checkpoint.of(replace(job, items=(Item("a"),))).file.name != name
    assert Checkpoint.of(replace(job, target=load_target("torch-cpu-1t"))).file.name != name


def test_it_is_written_every_few_seconds(job: Job) -> None:
    checkpoint = Checkpoint.of(job)
    assert not checkpoint.is_due(EVERY_SECONDS / 2)
    assert checkpoint.load() == ({}, frozenset())
    assert checkpoint.is_due(EVERY_SECONDS)
    checkpoint.save(SAMPLES, (), EVERY_SECONDS)
    assert not checkpoint.is_due(EVERY_SECONDS + 0.1)
    assert checkpoint.load() == (SAMPLES, frozenset())


def test_a_job_without_a_folder_keeps_nothing(job: Job) -> None:
    checkpoint = Checkpoint.of(replace(job, work_folder=""))
    assert not checkpoint.is_due(1e6)
    assert checkpoint.load() == ({}, frozenset())


def test_a_pickle_is_not_loaded(job: Job) -> None:
    checkpoint = Checkpoint.of(job)
    np.savez(checkpoint.file, keys=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        checkpoint.load()
