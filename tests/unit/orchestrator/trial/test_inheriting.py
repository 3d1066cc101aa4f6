"""A warm-up that goes on from an earlier one: same weights, fresh classifiers for other classes, exact restarts."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from repository import ROOT
from shared_mode import in_shared_mode

from orchestrator.cluster.checkpoints import snapshot
from orchestrator.data.build import build
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import CONFIG_FILE, WARMUP_FILE, Job
from orchestrator.trial.inheriting import first_supernet
from orchestrator.trial.place import Place
from orchestrator.trial.records import write_beside
from orchestrator.trial.stages import load_warm_supernet, open_data, run_warmup
from supernet.errors import InputError, RunError
from supernet.judging import share_statistics
from supernet.network import Supernet
from supernet.sync import Alone

CLASSIFIER = "layers.4."


class Cut(Exception):
    """Stands for a process that dies."""


class Memory:
    """Keeps the last state, and dies right after the n-th save."""

    def __init__(self, cut_after: int = 0) -> None:
        self.state, self.left = None, cut_after

    def load(self):
        return snapshot(self.state) if self.state else None

    def due(self, step: int) -> bool:
        return step % 2 == 0

    def save(self, state, name: str) -> None:
        self.state, self.left = snapshot(state()), self.left - 1
        if self.left == 0:
            raise Cut


def job_of(root: Path, name: str, data: str, num_classes: int, mode: str = "independent", **warmup: object) -> Job:
    run = yaml.safe_load((ROOT / "benchmarks" / "small_sweep.yaml").read_text())
    run |= {"name": name, "storage": str(root), "workers": 1}
    run = in_shared_mode(run) if mode == "shared" else run
    run["warmup"] = {"num_steps": 6, "batch_size": 16, **warmup}
    run["space"] = {**run["space"], "num_classes": num_classes}
    job = Job(resolved(check_run(run, name)), data)
    job.store.write_json(CONFIG_FILE, dict(job.config))
    return job


def place(saver: Memory) -> Place:
    return Place(sync=Alone(), device=torch.device("cpu"), saver=saver, post=lambda news: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("data") / "digits")
    build("digits", folder, validation_fraction=0.05, test_fraction=0.05, seed=0)
    torch.set_num_threads(1)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, data: str) -> Path:
    """A storage with two sweeps whose supernets are warm: of ten classes, and of four that were never trained."""
    made = tmp_path_factory.mktemp("runs")
    run_warmup(job_of(made, "ten", data, 10), place(Memory()))
    other = job_of(made, "four", data, 4)
    buffer = io.BytesIO()
    torch.save(Supernet(other.space, seed=5).state_dict(), buffer)
    write_beside(other.store, WARMUP_FILE, buffer.getvalue())
    return made


def test_weights_are_those_of_the_earlier_sweep(root: Path, data: str) -> None:
    found = first_supernet(job_of(root, "same", data, 10, **{"from": "ten"})).state_dict()
    wanted = load_warm_supernet(job_of(root, "ten", data, 10)).state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_warm_up_of_no_steps_takes_them_as_they_are(root: Path, data: str) -> None:
    job = job_of(root, "taken", data, 10, **{"from": "ten", "num_steps": 0})
    run_warmup(job, place(Memory()))
    assert job.store.read(WARMUP_FILE) == job_of(root, "ten", data, 10).store.read(WARMUP_FILE)


def test_a_fresh_classifier_that_nothing_would_train_is_refused(root: Path, data: str) -> None:
    job = job_of(root, "untrained", data, 10, "shared", **{"from": "four", "num_steps": 0})
    with pytest.raises(InputError, match=r"warmup\.num_steps: 0: .*tells 4 classes apart, these images have 10"):
        run_warmup(job, place(Memory()))


@pytest.mark.parametrize("zeroed", [True, False])
def test_fresh_weights_begin_as_the_warm_up_asks(root: Path, data: str, zeroed: bool) -> None:
    job = job_of(root, "fresh", data, 10, sharing={"zero_init_residual": zeroed})
    wanted = Supernet(job.space, seed=job.run.seed, zero_init_residual=zeroed).state_dict()
    found = first_supernet(job).state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_warm_up_leaves_the_statistics_that_its_paths_share(root: Path, data: str) -> None:
    job = job_of(root, "sharing", data, 10, "shared")
    job = replace(job, config={**job.config, "derive": {**job.config["derive"], "recalibration_batches": 0}})
    run_warmup(job, place(Memory()))
    supernet = load_warm_supernet(job)
    wanted = {name: value.clone() for name, value in supernet.state_dict().items()}
    share_statistics(supernet, open_data(job), job.run.warmup.batch_size)
    assert all(torch.equal(value, wanted[name]) for name, value in supernet.state_dict().items())


def test_other_classes_have_a_fresh_classifier_and_nothing_else(root: Path, data: str) -> None:
    job = job_of(root, "other", data, 10, **{"from": "four"})
    found, fresh = first_supernet(job).state_dict(), Supernet(job.space, seed=job.run.seed).state_dict()
    wanted = Supernet(replace(job.space, num_classes=4), seed=5).state_dict()
    for name, weights in found.items():
        assert torch.equal(weights, fresh[name] if name.startswith(CLASSIFIER) else wanted[name]), name
    assert sum(name.startswith(CLASSIFIER) for name in found) == 2


def test_a_cut_changes_nothing_even_where_the_earlier_sweep_is_gone(root: Path, data: str) -> None:
    whole = job_of(root, "whole", data, 10, **{"from": "four"})
    run_warmup(whole, place(Memory()))
    cut, saver = job_of(root, "cut", data, 10, **{"from": "four"}), Memory(cut_after=2)
    with pytest.raises(Cut):
        run_warmup(cut, place(saver))
    (root / "four" / WARMUP_FILE).rename(root / "four" / "hidden")
    run_warmup(cut, place(saver))
    (root / "four" / "hidden").rename(root / "four" / WARMUP_FILE)
    assert cut.store.read(WARMUP_FILE) == whole.store.read(WARMUP_FILE)
    plain = job_of(root, "plain", data, 10)
    run_warmup(plain, place(Memory()))
    assert plain.store.read(WARMUP_FILE) != whole.store.read(WARMUP_FILE)


def test_damaged_weights_of_an_earlier_sweep_are_named(root: Path, data: str) -> None:
    job, store = job_of(root, "late", data, 10, **{"from": "spoiled"}), job_of(root, "spoiled", data, 10).store
    write_beside(store, WARMUP_FILE, b"weights")
    store.write(WARMUP_FILE, b"wreckage")
    with pytest.raises(RunError, match=r"spoiled/warmup\.pt: damaged"):
        first_supernet(job)
