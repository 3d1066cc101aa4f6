"""The registry against a real MLflow on SQLite: what is written, once, and shown; quiet."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from registry_cases import make_result, open_registry, register, results, state_of

from orchestrator.registry.store import Registry
from supernet.errors import InputError, RunError


def test_results_come_back_to_the_last_digit(registry: Registry, root: Path) -> None:
    expected = [
        make_result("ort-tight", model_uri="models:/night-ort-cpu-1t/2"),
        make_result("ort-wide", cost=2.5, top1=0.95, model_uri="models:/night-ort-cpu-1t/1"),
        make_result("torch-tight", target="torch-cpu-1t", top1=0.97, model_uri="models:/night-torch-cpu-1t/1"),
    ]
    assert results(registry, "night") == expected
    assert results(open_registry(root, create=False), "night") == expected


def test_mlflow_shows_the_sweep_its_trials_and_their_numbers(registry: Registry) -> None:
    client = registry._client
    parent = registry.open_sweep("night", {"seed": 7})
    assert registry.open_sweep("night", {"seed": 7}) == parent
    runs = client.search_runs([registry.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert {run.info.run_name for run in runs} == {"ort-wide", "ort-tight", "torch-tight"}
    run = next(run for run in runs if run.info.run_name == "ort-tight")
    assert run.info.status == "FINISHED"
    assert run.data.params["architecture"] == "k3e3-skip"
    assert run.data.metrics["top1"] == 0.9123456789012345
    assert {"latency_ms", "predicted_ms", "num_params", "num_macs"} <= set(run.data.metrics)
    best = client.get_model_version_by_alias("night-ort-cpu-1t", "best")
    assert best.tags["trial"] == "ort-wide"
    fast = client.search_logged_models(
        [registry.experiment_id], "metrics.latency_ms < 2 AND tags.target = 'ort-cpu-1t'"
    )
    assert [model.tags["onepath.trial"] for model in fast] == ["ort-tight"]
    of_data = client.search_logged_models(
        [registry.experiment_id],
        "metrics.top1 > 0.9 AND metrics.latency_ms < 2",
        datasets=[{"dataset_name": "night-test", "dataset_digest": "0123456789abcdef"}],
    )
    assert {model.tags["onepath.trial"] for model in of_data} == {"ort-tight", "torch-tight"}
    model = next(model for model in of_data if model.tags["onepath.trial"] == "ort-tight")
    metrics = {metric.key: (metric.value, metric.dataset_name) for metric in model.metrics}
    assert metrics["top1"] == (0.9123456789012345, "night-test")
    assert {"latency_ms", "predicted_ms", "num_params", "num_macs"} <= set(metrics)
    (images,) = run.inputs.dataset_inputs
    assert (images.dataset.name, images.tags[0].value) == ("night-test", "test")


def test_what_is_registered_beside_a_sweep_leaves_its_run_alone(registry: Registry, root: Path) -> None:
    """Said before: FINISHED, while the sweep ran on."""
    client = registry._client
    run = registry.open_sweep("beside", {})
    assert registry.open_sweep("beside", {"seed": 9}, running=False) == run
    register(registry, make_result("mine", sweep="beside"), root / "files")
    registry.set_aliases("beside")
    assert client.get_run(run).info.status == "RUNNING"
    alone = registry.open_sweep("by-itself", {}, running=False)
    assert client.get_run(alone).info.status == "FINISHED"


def test_mlflow_shows_a_card_of_each_version_and_of_the_model(registry: Registry, root: Path) -> None:
    client, name = registry._client, "night-ort-cpu-1t"
    wide = client.get_model_version_by_alias(name, "best")
    assert wide.description.startswith(f"# {name}, version {wide.version}\n")
    assert "Most often confused: class 3 taken for class 8 (4 of 34 images)." in wide.description
    artifacts = root / "artifacts" / "models" / wide.source.split("/")[-1] / "artifacts" / "card"
    assert {path.name for path in artifacts.iterdir()} == {"confusion.json", "confusion.png", "architecture.png"}
    listed = client.get_registered_model(name).description
    assert (
        "| 2 | fastest, knee, budget-1_5ms | 91.2 % (88-94) | 1.250 ms | 1.500 ms | 1.23 k |\n| 1 | best | 95.0 %"
        in listed
    )
    # What a user wrote instead stays.
    client.update_model_version(name, wide.version, "mine")
    client.update_registered_model(name, "ours")
    register(registry, make_result("ort-wide", cost=2.5, top1=0.95), root / "files")
    assert client.get_model_version(name, wide.version).description == "mine"
    assert client.get_registered_model(name).description == "ours"


def test_registering_again_changes_nothing_and_another_result_replaces(registry: Registry, root: Path) -> None:
    registry.open_sweep("again", {})
    first = make_result("t", sweep="again")
    uri = register(registry, first, root / "files")
    assert register(registry, first, root / "files") == uri
    assert state_of(registry, "again", "t") == (1, 1, 1, "FINISHED")
    second = dataclasses.replace(first, architecture="skip-skip", top1=0.5)
    replaced = register(registry, second, root / "files")
    assert replaced != uri
    assert state_of(registry, "again", "t") == (1, 1, 1, "FINISHED")
    assert results(registry, "again") == [dataclasses.replace(second, model_uri=replaced)]
    assert registry._client.get_model_version_by_alias("again-ort-cpu-1t", "best").tags["top1"] == "0.5"


def test_a_version_that_a_server_made_twice_is_there_once(registry: Registry, root: Path) -> None:
    """A server that answers too late is asked again by MLflow; `best` named the first one, which no command takes."""

    class Late:
        """Makes what it is asked for, and once more when asked again."""

        def __getattr__(self, name: str) -> Any:
            return getattr(registry._client, name)

        def create_model_version(self, *arguments: Any, **more: Any) -> Any:
            registry._client.create_model_version(*arguments, **more)
            return registry._client.create_model_version(*arguments, **more)

    registry.open_sweep("late", {})
    versions = registry._versions
    versions._client = Late()
    try:
        uri = register(registry, make_result("t", sweep="late"), root / "files")
    finally:
        versions._client = registry._client
    assert uri == "models:/late-ort-cpu-1t/2"
    (network,) = registry.networks("late")
    assert (network.version, "best" in network.aliases) == (2, True)
    assert state_of(registry, "late", "t") == (1, 1, 1, "FINISHED")


def test_latencies_that_come_later_are_those_of_the_registered_network_once(registry: Registry, root: Path) -> None:
    registry.open_sweep("later", {})
    register(registry, make_result("t", sweep="later"), root / "files")
    for latency_ms in (2.5, 2.5, 2.25):
        registry.add_latencies("later", "t", {"torch-cpu-1t": latency_ms, "ort-cpu-1t": 1.25})
    registry.add_latencies("later", "never-registered", {"torch-cpu-1t": 1.0})
    (version,) = registry._versions.of("later", "t")
    assert "\n| on other targets | torch-cpu-1t: 2.250 ms |\n" in version.description
    registry._client.update_model_version(version.name, version.version, "mine")
    registry.add_latencies("later", "t", {"torch-cpu-1t": 2.25})
    assert registry._client.get_model_version(version.name, version.version).description == "mine"
    history = registry._client.get_metric_history(version.run_id, "latency_ms_on_torch-cpu-1t")
    assert sorted(point.value for point in history) == [2.25, 2.5]
    where = "metrics.`latency_ms_on_torch-cpu-1t` < 2.3"
    (model,) = registry._client.search_logged_models([registry.experiment_id], where)
    assert model.model_id == version.source.split("/")[-1]


def test_a_trials_run_that_a_user_deleted_keeps_no_sweep_from_its_end(registry: Registry, root: Path) -> None:
    """Said before, at the end of each run: the end of the sweep could not be registered."""
    registry.open_sweep("tidied", {})
    register(registry, make_result("t", sweep="tidied"), root / "files")
    (version,) = registry._versions.of("tidied", "t")
    registry._client.delete_run(version.run_id)
    registry.add_latencies("tidied", "t", {"torch-cpu-1t": 2.5})
    (version,) = registry._versions.of("tidied", "t")
    assert "\n| on other targets | torch-cpu-1t: 2.500 ms |\n" in version.description


def test_a_rejected_network_is_kept_and_nothing_is_named_after_it(registry: Registry, root: Path) -> None:
    registry.open_sweep("gate", {})
    register(registry, make_result("sound", sweep="gate"), root / "files")
    rejected = make_result("off", sweep="gate", cost=1.0, top1=0.99, status="rejected", reason="30 % slower")
    uri = register(registry, rejected, root / "files")
    assert register(registry, rejected, root / "files") == uri
    assert results(registry, "gate")[0] == dataclasses.replace(rejected, model_uri=uri)
    assert registry.lacks(results(registry, "gate")) == []
    client = registry._client
    assert client.get_model_version("gate-ort-cpu-1t", "2").aliases == []
    assert "**Rejected:** 30 % slower" in client.get_model_version("gate-ort-cpu-1t", "2").description
    with pytest.raises(InputError, match="version 2 was rejected, so nothing is named after it: 30 % slower"):
        registry.promote("gate-ort-cpu-1t", 2, "champion")
    found = client.search_logged_models(
        [registry.experiment_id], "tags.`onepath.sweep` = 'gate' AND tags.status = 'done'"
    )
    assert [model.tags["onepath.trial"] for model in found] == ["sound"]


def test_wrong_stores_and_names_are_refused(registry: Registry, root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="MLflow takes no plain folder; use sqlite:"):
        Registry("./mlruns")
    with pytest.raises(InputError, match="a postgresql database keeps no files of networks; start `mlflow server`"):
        Registry("postgresql://u@localhost/mlflow")
    with pytest.raises(InputError, match="no registry here; `onepath sweep`"):
        open_registry(tmp_path / "absent", create=False)
    assert not (tmp_path / "absent").exists()
    (tmp_path / "mlflow.db").write_text("this is no database, it is a letter " * 100)
    with pytest.raises(RunError, match="not readable as a registry"):
        open_registry(tmp_path)
    with pytest.raises(InputError, match="sweep name 'a/b'"):
        registry.open_sweep("a/b", {})
    with pytest.raises(InputError, match="only a finished one"):
        register(registry, make_result("t", top1=None), root / "files")
    with pytest.raises(RunError, match=r"t: model\.onnx is not the file that was judged .*; remove result\.json"):
        register(registry, make_result("t", file="model.onnx", file_sha256="another"), root / "files")
    with pytest.raises(InputError, match="no sweep 'unopened'"):
        register(registry, make_result("t", sweep="unopened"), root / "files")


def test_shared_work_has_curves_in_the_sweeps_run(registry: Registry) -> None:
    registry.open_sweep("shared", {})
    for step in (0, 20):
        registry.log_progress("shared", "", {"warm-up_loss": 2.0 - 0.01 * step}, step)
    client = registry._client
    (run,) = client.search_runs([registry.experiment_id], "tags.`onepath.sweep` = 'shared'")
    history = client.get_metric_history(run.info.run_id, "warm-up_loss")
    assert run.info.run_name == "shared"
    assert [(point.step, point.value) for point in history] == [(0, 2.0), (20, 1.8)]


def test_the_sweeps_run_holds_its_data_set_and_files_once(registry: Registry) -> None:
    parent = registry.open_sweep("kept", {"seed": 7})
    for number in range(2):  # a sweep that is started again
        registry.link_data("kept", "0123456789abcdef", {"train": 80, "validation": 10, "test": 10})
        registry.close_sweep("kept", {"report.html": b"<html>%d" % number, "tables/t.parquet": b"rows"})
    client = registry._client
    run = client.get_run(parent)
    linked = {(i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs}
    assert linked == {(f"kept-{split}", "0123456789abcdef", split) for split in ("train", "validation", "test")}
    assert len(run.inputs.dataset_inputs) == 3
    assert run.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(parent)} == {"config.json", "report.html", "tables"}
    assert [file.path for file in client.list_artifacts(parent, "tables")] == ["tables/t.parquet"]
    assert Path(client.download_artifacts(parent, "report.html")).read_bytes() == b"<html>1"


def test_progress_is_not_doubled_by_a_restart(registry: Registry, root: Path) -> None:
    registry.open_sweep("curves", {})
    for step in range(4):
        registry.log_progress("curves", "t", {"loss": 1 / (step + 1), "expected_ms": 2.0}, step)
    again = open_registry(root)
    for step in range(2, 6):
        again.log_progress("curves", "t", {"loss": 1 / (step + 1)}, step)
    client = registry._client
    (run,) = client.search_runs(
        [registry.experiment_id], "tags.`onepath.sweep` = 'curves' and attributes.run_name = 't'"
    )
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(step, 1 / (step + 1)) for step in range(6)]
    uri = register(registry, make_result("t", sweep="curves"), root / "files")
    assert results(registry, "curves")[0].model_uri == uri
    assert state_of(registry, "curves", "t") == (1, 1, 1, "FINISHED")


def test_failed_trial_is_kept_with_its_reason(registry: Registry, root: Path) -> None:
    registry.open_sweep("failing", {})
    failed = dataclasses.replace(make_result("t", sweep="failing"), status="failed", reason="board lost", top1=None)
    registry.record_failure(failed)
    assert state_of(registry, "failing", "t") == (1, 0, 0, "FAILED")
    (run,) = registry._client.search_runs([registry.experiment_id], "tags.`onepath.reason` = 'board lost'")
    assert run.info.run_name == "t"
    register(registry, make_result("t", sweep="failing"), root / "files")
    assert state_of(registry, "failing", "t") == (1, 1, 1, "FINISHED")
    registry.close_sweep("failing")
    parent = registry.open_sweep("failing", {})
    assert registry._client.get_run(parent).info.status == "RUNNING"


def test_mlflow_says_nothing(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from registry_cases import make_result, open_registry, register, results
root = Path({str(tmp_path)!r})
registry = open_registry(root)
registry.open_sweep("quiet", {{}})
register(registry, make_result("t", sweep="quiet"), root / "files")
registry.pull("quiet", "ort-cpu-1t", root / "out", max_ms=9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
