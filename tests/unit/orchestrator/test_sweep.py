"""How a sweep comes to its images and its configuration, and what it tries twice; nothing is started."""

import io
import shutil

import numpy as np
import pytest
import yaml
from rich.console import Console

from benchmarks.layouts import Pictures, write_folder, write_mnist
from orchestrator.data.build import build
from orchestrator.data.format import read_manifest
from orchestrator.data.pixels import encode_png
from orchestrator.data.storage import Storage
from orchestrator.plan.check import check_run, load_run, resolved
from orchestrator.plan.images import require_same_images
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import known_trials
from orchestrator.plan.trials import CONFIG_FILE, RESULT_FILE, WARMUP_FILE, Job, Trial
from orchestrator.report.live import LiveView
from orchestrator.sweep import _results, _run_on_tune, _warm_up, prepare, run_sweep
from orchestrator.trial.tables import Tables
from supernet.cost import params_table
from supernet.errors import InputError, RunError
from supernet.plain import to_sealed
from supernet.presets import read_preset


def pictures() -> Pictures:
    random = np.random.default_rng(0)
    splits = {
        split: [(random.integers(0, 256, (28, 28), np.uint8), i % 2) for i in range(count)]
        for split, count in {"train": 40, "test": 10}.items()
    }
    return Pictures(["cat", "dog"], splits)


def test_a_sweep_that_has_begun_does_not_need_its_raw_images(tmp_path, monkeypatch):
    """Said before: no folder 'raw', with all that was made of it in place."""
    monkeypatch.chdir(tmp_path)
    write_folder(pictures(), tmp_path / "raw")
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"targets": ["macs"], "storage": str(tmp_path / "runs"), "sweep": {"budget_fractions": [0.5]}}
    definition["data"] = {**definition["data"], "source": "raw"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(definition))
    said = io.StringIO()
    job = prepare(load_run("mine.yaml"), Console(file=said))
    assert job.space.num_classes == 2
    assert "converting raw" in said.getvalue()
    assert not job.store.exists(CONFIG_FILE), "whoever holds the sweep writes it"
    shutil.move("raw", "elsewhere")
    with pytest.raises(InputError, match=r"data\.source: no folder 'raw'"):
        load_run("mine.yaml")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    again = prepare(load_run("mine.yaml"), Console(file=said))
    assert (again.data_root, again.config) == (job.data_root, job.config)
    assert f"{job.data_root}, made of raw before" in said.getvalue()
    definition["data"] |= {"num_loader_workers": 2}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(definition))
    assert prepare(load_run("mine.yaml"), Console(file=said)).data_root == job.data_root
    shutil.move("elsewhere", "raw")
    assert prepare(load_run("mine.yaml"), Console(file=said)).data_root == job.data_root
    (tmp_path / "raw" / "train" / "cat" / "new.png").write_bytes(encode_png(np.zeros((28, 28), np.uint8)))
    with pytest.raises(InputError, match="built from other images"):
        prepare(load_run("mine.yaml"), Console(file=said))


def test_a_sweep_that_has_begun_does_not_fetch_its_images_again(tmp_path):
    """Said before, on another head node without the internet: MNIST is not in FOLDER and cannot be downloaded."""
    random, names = np.random.default_rng(0), [str(label) for label in range(10)]
    splits = {
        split: [(random.integers(0, 256, (28, 28), np.uint8), i % 10) for i in range(count)]
        for split, count in {"train": 120, "test": 30}.items()
    }
    source = write_mnist(Pictures(names, splits), tmp_path / "fetched")
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"targets": ["macs"], "storage": str(tmp_path / "runs"), "sweep": {"budget_fractions": [0.5]}}
    run = check_run({**definition, "data": {"source": source}}, "mine")
    job = prepare(run, Console(file=io.StringIO()))
    job.store.write_json(CONFIG_FILE, dict(job.config))
    shutil.rmtree(tmp_path / "fetched")
    (tmp_path / "fetched").write_text("nothing can be downloaded into a file")
    again = prepare(run, Console(file=io.StringIO()))
    assert (again.data_root, again.config) == (job.data_root, job.config)


def test_a_second_sweep_of_the_same_source_is_split_as_it_asks(tmp_path):
    """Said before: remove the folder, which the first sweep goes by, or choose another, which no sweep can."""
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"targets": ["macs"], "storage": str(tmp_path), "sweep": {"budget_fractions": [0.5]}}
    jobs = []
    for name, fraction in (("first", 0.2), ("second", 0.3)):
        definition |= {"name": name, "data": {"source": "digits", "test_fraction": fraction}}
        jobs.append(prepare(check_run(definition, name), Console(file=io.StringIO())))
    manifests = [read_manifest(Storage(job.data_root)) for job in jobs]
    assert [manifest.test_fraction for manifest in manifests] == [0.2, 0.3]
    assert manifests[0].content == manifests[1].content


@pytest.mark.parametrize(("data", "told"), [
    ({}, ""),
    ({"validation_fraction": 0.3}, ""),
    ({"validation_fraction": 0.2}, r"mine\.data\.validation_fraction: 0\.2; .*built with validation_fraction 0\.3"),
    ({"test_fraction": 0.2}, r"mine\.data\.test_fraction: 0\.2; .*built with a split of their source.*remove this key"),
])  # fmt: skip
def test_prepared_shards_are_not_split_otherwise(tmp_path, data, told):
    """Said before: nothing, and the page showed fractions that were not used."""
    write_folder(pictures(), tmp_path / "raw")
    build(str(tmp_path / "raw"), tmp_path / "shards", validation_fraction=0.3)
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"name": "mine", "targets": ["macs"], "storage": str(tmp_path / "runs")}
    run = check_run({**definition, "data": {"source": str(tmp_path / "shards"), **data}}, "mine")
    if told:
        with pytest.raises(InputError, match=told):
            prepare(run, Console(file=io.StringIO()))
    else:
        assert prepare(run, Console(file=io.StringIO())).data_root == str(tmp_path / "shards")


def test_a_sweep_that_has_begun_refuses_other_images(tmp_path):
    """Said before: nothing, and one front of two splits."""
    shards = str(tmp_path / "shards")
    build("digits", shards, seed=0)
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"targets": ["macs"], "storage": str(tmp_path / "runs"), "sweep": {"budget_fractions": [0.5]}}
    definition["data"] = {"source": shards}
    job = prepare(check_run(definition, "mine"), Console(file=io.StringIO()))
    job.store.write(WARMUP_FILE, b"")
    require_same_images(job)
    shutil.rmtree(shards)
    build("digits", shards, seed=1)
    with pytest.raises(InputError, match=r"has begun with .*--name"):
        run_sweep(job, Console(file=io.StringIO()))
    assert not job.store.exists(CONFIG_FILE)


@pytest.mark.parametrize("budgets", [[1.0], [1.0, 1e9]])
def test_no_supernet_is_trained_for_trials_that_cannot_be_searched_for(tmp_path, monkeypatch, budgets):
    """Took before: the whole warm-up, after which every trial failed."""
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"targets": ["params"], "storage": str(tmp_path), "sweep": {"budget_counts": {"params": budgets}}}
    job = Job(resolved(check_run(definition, "mine")), "")
    trained: list[Job] = []
    monkeypatch.setattr("orchestrator.trial.search_job.warm_up", lambda job, *, here: trained.append(job))
    said = io.StringIO()
    view = LiveView(Console(file=said, width=200), dict, total=2)
    tables = {"params": params_table(job.space)}
    if len(budgets) == 1:
        with pytest.raises(InputError, match="params-1: budget 1 "):
            _warm_up(job, tables, view, here=True)
    else:
        _warm_up(job, tables, view, here=True)
        assert "params-1 will fail: budget 1 " in said.getvalue()
    assert len(trained) == len(budgets) - 1


def test_a_damaged_result_does_not_hide_why_its_trial_failed_now(tmp_path):
    """Said before: checksum does not fit, and that the command makes it again, which it had just tried."""
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"targets": ["macs"], "storage": str(tmp_path), "sweep": {"budget_fractions": [0.3, 0.4, 0.5, 0.6]}}
    job = Job(resolved(check_run(definition, "mine")), "")
    tried, untried, lost, absent = known_trials(job)
    for trial in (tried, untried):
        job.trial_store(trial).write(RESULT_FILE, b"damaged")
    kept = job.result(lost, cost=1.0, top1=0.9)
    job.trial_store(lost).write(RESULT_FILE, to_sealed(kept).encode())
    failed = {trial.key: job.result(trial, status="failed", reason="no device") for trial in (tried, lost)}
    now, then, *others = _results(job, failed)
    assert now.reason == "no device"
    assert "`onepath sweep` makes it again" in then.reason
    assert others == [kept, job.result(absent, status="failed", reason="not finished")]


class Registered:
    """Stands for `Registering`: keeps what it was given."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.given: list[TrialResult] = []

    def add(self, trial: Trial, result: TrialResult) -> None:
        self.given.append(result)


def test_a_trained_network_that_was_not_delivered_is_tried_once_more_after_the_others(tmp_path, monkeypatch):
    """Said before: exit 1 at the end of a quickstart, for its machine had been slow for two minutes."""
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"targets": ["macs", "params"], "storage": str(tmp_path), "sweep": {"budget_fractions": [0.5]}}
    job = Job(resolved(check_run(definition, "mine")), "")
    macs, params = known_trials(job)
    monkeypatch.setattr("orchestrator.trial.files.is_trained", lambda store: store.uri.endswith(macs.key))
    tried: list[str] = []

    def tune(job, turns, take, *, here):
        for trial, _ in turns:
            tried.append(trial.key)
            first = tried.count(trial.key) == 1
            take(trial, job.result(trial, status="failed" if first else "rejected", reason="slow"))

    monkeypatch.setattr("orchestrator.trial.tuning.tune_trials", tune)
    registering, said = Registered(), io.StringIO()
    view = LiveView(Console(file=said, width=200), dict, total=2)
    tables = Tables(job, view, present=list)
    tables.ask(["macs", "params"])
    failed = _run_on_tune(job, tables, registering, view, here=True)
    assert tried == [macs.key, params.key, macs.key]
    assert [result.trial for result in registering.given] == [params.key, macs.key], "each once"
    assert list(failed) == [params.key], "nothing of it was trained"
    assert "tried once more" in said.getvalue()
    assert view.done == 2


def test_a_network_whose_device_is_away_is_not_tried_once_more(tmp_path, monkeypatch):
    """Took before: `measure.wait_minutes` twice. What waits for a device that never comes fails with the reason."""
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"targets": ["ort-cpu-1t", "torch-cpu-1t"], "storage": str(tmp_path)}
    job = Job(resolved(check_run({**definition, "sweep": {"budget_fractions": [0.5, 0.7]}}, "mine")), "")
    monkeypatch.setattr("orchestrator.trial.files.is_trained", lambda store: True)
    there, tried = ["ort-cpu-1t"], []

    def ask(job, name):
        def asked(seconds, patient):
            if name in there:
                return params_table(job.space)
            raise RunError(f"no node measured {name}")

        return asked

    def tune(job, turns, take, *, here):
        for trial, _ in turns:
            tried.append(trial.key)
            there.clear()  # while the first trial trains
            take(trial, job.result(trial, status="failed", reason="no node"))

    monkeypatch.setattr("orchestrator.trial.tuning.tune_trials", tune)
    registering = Registered()
    view = LiveView(Console(file=io.StringIO()), dict, total=4)
    tables = Tables(job, view, ask, lambda names: [name for name in names if name in there])
    tables.ask(job.targets)
    failed = _run_on_tune(job, tables, registering, view, here=True)
    first, *others = (trial.key for trial in known_trials(job))
    assert tried == [first]
    assert [result.trial for result in registering.given] == [first, *others]
    assert failed[first].reason == "no node", "it has waited once"
    assert failed[others[-1]].reason == "no node measured torch-cpu-1t"
