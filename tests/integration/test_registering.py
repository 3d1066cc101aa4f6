"""From what trials stored to the registry: lost, damaged or away, one command brings it back. No Ray."""

import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import Server, free_port
from rich.console import Console
from safetensors.torch import save

from orchestrator.plan.check import check_run, load_run, resolved
from orchestrator.plan.stored import stored_results
from orchestrator.plan.trials import (
    ARCHITECTURE_FILE,
    CONFIG_FILE,
    ONNX_FILE,
    OUTCOME_FILE,
    PREPROCESSING_FILE,
    PROGRAM_FILE,
    REGISTERED_FILE,
    RESULT_FILE,
    WEIGHTS_FILE,
    Job,
    plan_trials,
)
from orchestrator.registry.queue import Registering, open_registry
from orchestrator.report.end import SweepEnd
from orchestrator.sweep import run_sweep
from orchestrator.trial.files import files_of
from orchestrator.trial.records import Outcome, checksum, write_beside, write_record
from supernet.errors import InputError, RunError
from supernet.network import build_network
from supernet.plain import to_sealed
from supernet.presets import read_preset
from supernet.space import architecture_to_json

ABOUT = {"runtime": "torch", "class_names": ["a", "b"], "input_size": [1, 50, 40], "resize": "squeeze"}
ABOUT |= {"precision": "fp32", "num_threads": 1, "batch": 1, "options": {}, "environment": {}}


def finished_sweep(root: Path, uri: str | None = None) -> Job:
    """Write a sweep of two networks as its trials leave it, registered nowhere as yet."""
    definition, _ = read_preset("runs", "quickstart")
    changes = {
        "name": "night",
        "targets": ["macs"],
        "sweep": {"budget_counts": [2e6, 5e6]},
        "storage": str(root),
        "mlflow": {"tracking_uri": uri},
    }
    job = Job(resolved(check_run({**definition, **changes}, "night")), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    space = job.space
    architecture = space.architecture([0] * len(space.positions))
    weights = save({key: value.contiguous() for key, value in build_network(space, architecture).state_dict().items()})
    for number, trial in enumerate(plan_trials(job.run)):
        store = job.trial_store(trial)
        result = job.result(trial, cost=1e6 + number, top1=0.9, validation_top1=0.9, architecture=architecture.id)
        store.write(ARCHITECTURE_FILE, architecture_to_json(space, architecture).encode())
        store.write(WEIGHTS_FILE, weights)
        write_record(store, OUTCOME_FILE, Outcome(architecture.id, 0.9, 10, 10, checksum(weights), 0))
        for name in (PROGRAM_FILE, ONNX_FILE):
            write_beside(store, name, name.encode())
        write_beside(store, PREPROCESSING_FILE, json.dumps(ABOUT).encode())
        store.write(RESULT_FILE, to_sealed(result).encode())
    return job


def registered(job: Job) -> dict[str, str]:
    return {key: result.model_uri for key, result in stored_results(job).items()}


def rerun(job: Job, **changes: Any) -> SweepEnd:
    """Do what the command that is told does, in this process."""
    again = load_run(f"{job.store.uri}/{CONFIG_FILE}", storage=job.root.uri, **changes)
    return run_sweep(Job(resolved(again), ""), Console(quiet=True))


def without_registry(job: Job, root: Path) -> Job:
    """Return the sweep in a copy of its storage that lost `mlflow.db`; this process still holds the original's open."""
    shutil.copytree(job.root.uri, root, ignore=shutil.ignore_patterns("mlflow.db"))
    return Job({**job.config, "storage": str(root)}, "")


def test_a_sweep_to_which_baselines_are_added_has_something_to_do(tmp_path: Path, monkeypatch: Any) -> None:
    """Said before, after hours of training them: nothing left to do."""
    job = finished_sweep(tmp_path)
    assert rerun(job).idle
    monkeypatch.setattr("orchestrator.sweep._run_trials", lambda *args: ({}, {}))
    assert not rerun(job, baselines=["mobilenet-v2"]).idle


def test_what_is_lost_of_a_networks_files_is_written_again_from_its_weights(tmp_path: Path) -> None:
    """Said before of the architecture, each time: this registers what is stored."""
    job = finished_sweep(tmp_path)
    store = job.trial_store(plan_trials(job.run)[0])
    kept = store.read(ARCHITECTURE_FILE)
    store.remove(ARCHITECTURE_FILE)
    assert all(result.model_uri for result in rerun(job).results)
    assert store.read(ARCHITECTURE_FILE) == kept


def test_a_lost_registry_is_made_again_by_the_command_that_pull_names(tmp_path: Path) -> None:
    """Said before: `sweep`: nothing left to do; `pull`: run a sweep first."""
    job = finished_sweep(tmp_path / "a run's folder")
    first = rerun(job).results
    assert registered(job) == {"macs-2M": "models:/night-macs/1", "macs-5M": "models:/night-macs/2"}
    assert [result.model_uri for result in first] == list(registered(job).values())
    registry = open_registry(job, create=False)
    (sweep,) = registry._client.search_runs([registry.experiment_id], "tags.`onepath.role` = 'sweep'")
    kept = {file.path for file in registry._client.list_artifacts(sweep.info.run_id)}
    assert kept == {"config.json", "front.png", "ledger.json", "report.html", "trust.json"}
    assert "models:/night-macs/2" in job.store.read("report.html").decode()
    root = tmp_path / "a copy's folder"
    job = without_registry(job, root)
    with pytest.raises(InputError, match=r"no registry here; .*: onepath sweep '.*config\.json'"):
        open_registry(job, create=False)
    again_made = rerun(job).results
    assert all(result.model_uri for result in again_made)
    assert open_registry(job, create=False).pull("night", "macs", tmp_path / "out", max_count=1e6)["trial"] == "macs-2M"
    # A damaged file in the registry is made whole too, and what is whole is left alone.
    networks = sorted(
        (root / "artifacts" / "models").glob("*/artifacts/data/network/model.pt2"), key=lambda p: p.stat().st_mtime
    )
    networks[-1].write_bytes(b"")
    before = registered(job)
    rerun(job)
    after = registered(job)
    assert [before[key] == after[key] for key in before] == [True, False]
    registry = open_registry(job, create=False)
    assert registry.lacks(stored_results(job).values()) == []


def test_two_sweeps_of_one_name_do_not_replace_each_others_networks(tmp_path: Path) -> None:
    """Said before: nothing; the second one deleted the first one's versions, and with them the users' aliases."""
    shared = f"sqlite:///{tmp_path}/shared.db"
    first, second = finished_sweep(tmp_path / "first", shared), finished_sweep(tmp_path / "second", shared)
    rerun(first)
    open_registry(first).promote("night-macs", 1, "champion")
    with pytest.raises(
        InputError, match=rf"sweep 'night': .* of that name, from .*:{first.store.uri} since .* \(--name"
    ):
        rerun(second)
    copy = Path(shutil.copytree(tmp_path / "first", tmp_path / "copy"))
    rerun(Job({**first.config, "storage": str(copy)}, ""))
    networks = {network.version: network for network in open_registry(first).networks("night")}
    assert set(networks) == {1, 2}
    assert "champion" in networks[1].aliases


def test_a_sweep_whose_folder_was_deleted_starts_over_in_the_storages_own_registry(tmp_path: Path) -> None:
    job = finished_sweep(tmp_path)
    rerun(job)
    shutil.rmtree(job.store.uri)
    job = finished_sweep(tmp_path)
    rerun(job)
    assert all(registered(job).values())


def test_a_damaged_result_fails_its_trial_and_no_other(tmp_path: Path) -> None:
    """Said before: a traceback of json instead of the front."""
    job = finished_sweep(tmp_path)
    first, second = plan_trials(job.run)
    store = job.trial_store(first)
    content = store.read(RESULT_FILE)
    for damage in (b"", content[:-30], b"\xff\xfe", content.replace(b"0.9", b"NaN"), content.replace(b"2M", b"3M")):
        store.write(RESULT_FILE, damage)
        found = stored_results(job)
        assert (found[first.key].status, found[second.key].status) == ("failed", "done")
        assert f"{store.uri}/{RESULT_FILE}" in found[first.key].reason
        assert "`onepath sweep` makes it again" in found[first.key].reason
    store.write(RESULT_FILE, content)
    store.write(REGISTERED_FILE, b"[")
    assert stored_results(job)[first.key].done


def test_a_registry_that_is_away_is_told_before_anything_starts(tmp_path: Path) -> None:
    """Said before: nothing, until the last trial had trained."""
    job = finished_sweep(tmp_path, f"http://127.0.0.1:{free_port()}")
    started = time.monotonic()
    with pytest.raises(RunError, match="not reachable"):
        run_sweep(job, Console(quiet=True))
    assert time.monotonic() - started < 120
    database = tmp_path / "mlflow.db"
    database.write_text("a letter " * 1000)
    with pytest.raises(RunError, match=r"not readable as a registry .*onepath sweep"):
        rerun(finished_sweep(tmp_path))


@pytest.mark.timeout(900)
def test_a_server_that_goes_away_is_waited_for_and_given_up_with_one_command(tmp_path: Path) -> None:
    server = Server(tmp_path, free_port())
    server.start()
    said: list[str] = []
    try:
        job = finished_sweep(tmp_path / "runs", server.uri)
        first, second = plan_trials(job.run)
        results = stored_results(job)
        with ThreadPoolExecutor(1) as thread, Registering(job, thread, files_of, said.append, pause=0.5) as registering:
            assert registering.ready(results) == [first.key, second.key]
            registering.add(first, results[first.key])
            registering.waiting[0].result()
            server.stop()
            registering.add(second, results[second.key])
            end = time.monotonic() + 240
            while not said and time.monotonic() < end:
                time.sleep(0.2)
            server.start()
            assert registering.finish() == ""
            assert all(registered(job).values())
            assert len(said) == 2
            assert "not reachable" in said[0]
            assert "finished networks are stored and wait for it" in said[0]
            server.stop()
            registering.patience = 0.0
            registering.add(first, replace(results[first.key], top1=0.5))
            assert re.search(rf"everything is stored, .*{job.store.uri}/config.json", registering.finish())
    finally:
        server.stop()
