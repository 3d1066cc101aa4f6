"""The registry against a real MLflow on SQLite: there and back, killed and repeated, quiet, without our packages."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from orchestrator.registry import Registry
from orchestrator.result import TrialResult
from supernet.errors import InputError, RunError

ARCHITECTURE = {"space": "tiny", "candidates": ["k3e3", "skip"]}
WRITES = ("create_", "set_", "log_", "delete_", "update_", "finalize_")


def make_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Dropout(0.5), nn.Linear(4, 10))
    network(torch.randn(16, 1, 8, 8))  # moves the running statistics away from 0 and 1
    return network.eval()


def make_result(trial: str, *, sweep: str = "night", target: str = "ort-cpu-1t", **numbers: Any) -> TrialResult:
    numbers = {"latency_ms": 1.25, "top1": 0.9123456789012345, "predicted_ms": 1.2, "budget_ms": 1.5} | numbers
    return TrialResult(
        sweep=sweep,
        trial=trial,
        target=target,
        objective="budget",
        seed=7,
        num_params=1234,
        num_macs=5678,
        architecture="k3e3-skip",
        latency_error_ms=0.01,
        doubt="export differs by 1e-3",
        **numbers,
    )


def files(folder: Path, network: nn.Module) -> tuple[Path, Path]:
    """Write weights and an ONNX graph of the network (by hand: the exporter is not what is tested)."""
    folder.mkdir(exist_ok=True)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "w.safetensors")
    head = [
        onnx.numpy_helper.from_array(weights["6.weight"].numpy().T.copy(), "w"),
        onnx.numpy_helper.from_array(weights["6.bias"].numpy(), "b"),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        "head",
        [value("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 10])],
        head,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "some.onnx")
    return folder / "some.onnx", folder / "w.safetensors"


def open_registry(root: Path, **more: Any) -> Registry:
    return Registry(f"sqlite:///{root}/mlflow.db", root / "artifacts", "tests", **more)


def register(registry: Registry, result: TrialResult, folder: Path, network: nn.Module | None = None) -> str:
    network = make_network() if network is None else network
    return registry.register(result, network, torch.randn(1, 1, 8, 8), ARCHITECTURE, *files(folder, network))


def state_of(registry: Registry, sweep: str, trial: str) -> tuple[int, int, int, str]:
    """Count, with MLflow's own client, the trial's live runs, versions and logged models; and tell the run's status."""
    client = registry._client
    where = f"tags.`onepath.sweep` = '{sweep}' and tags.`onepath.trial` = '{trial}'"
    runs = client.search_runs([registry.experiment_id], where)
    versions = client.search_model_versions(where)
    models = client.search_logged_models([registry.experiment_id], where)
    location = registry._client.get_experiment(registry.experiment_id).artifact_location
    left = {path.name for path in (Path(location.removeprefix("file://")) / "models").iterdir()}
    assert {model.model_id for model in models} <= left
    return len(runs), len(versions), len(models), ",".join(run.info.status for run in runs)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(root: Path) -> Registry:
    """A sweep of three networks on two targets."""
    registry = open_registry(root)
    registry.open_sweep("night", {"seed": 7})
    register(registry, make_result("ort-wide", latency_ms=2.5, top1=0.95), root / "files")
    register(registry, make_result("ort-tight"), root / "files")
    register(registry, make_result("torch-tight", target="torch-cpu-1t", top1=0.97), root / "files")
    return registry


def test_results_come_back_to_the_last_digit(registry: Registry, root: Path) -> None:
    expected = [
        make_result("ort-tight", model_uri="models:/night-ort-cpu-1t/2"),
        make_result("ort-wide", latency_ms=2.5, top1=0.95, model_uri="models:/night-ort-cpu-1t/1"),
        make_result("torch-tight", target="torch-cpu-1t", top1=0.97, model_uri="models:/night-torch-cpu-1t/1"),
    ]
    assert registry.results("night") == expected
    assert open_registry(root, create=False).models("night") == [result.to_dict() for result in expected]
    assert registry.sweeps() == ["night"]


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
    assert registry.results("again") == [dataclasses.replace(second, model_uri=replaced)]
    assert registry._client.get_model_version_by_alias("again-ort-cpu-1t", "best").tags["top1"] == "0.5"


def test_pull_brings_the_most_accurate_network_within_the_limit(registry: Registry, root: Path, tmp_path: Path) -> None:
    wide = registry.pull("night", "ort-cpu-1t", 2.5, tmp_path / "wide")
    assert (wide["trial"], wide["latency_ms"]) == ("ort-wide", 2.5)
    tight = registry.pull("night", "ort-cpu-1t", 2.4, tmp_path / "tight")
    assert tight["trial"] == "ort-tight"
    out = tmp_path / "tight"
    names = {"model.pt2", "model.onnx", "architecture.json", "weights.safetensors", "model.json"}
    assert {path.name for path in out.iterdir()} == names
    assert json.loads((out / "model.json").read_text()) == tight
    assert json.loads((out / "architecture.json").read_text()) == ARCHITECTURE
    images = torch.randn(5, 1, 8, 8)
    expected = make_network()(images)
    exported = torch.export.load(out / "model.pt2").module()
    torch.testing.assert_close(exported(images), expected, atol=1e-5, rtol=0)
    again = make_network(seed=1)
    again.load_state_dict(load_file(out / "weights.safetensors"))
    assert torch.equal(again(images), expected)
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    inner = make_network()[:5](images)
    np.testing.assert_allclose(session.run(None, {"x": inner.detach().numpy()})[0], expected.detach(), atol=1e-5)
    registry.pull("night", "ort-cpu-1t", 2.5, out)  # replaces
    assert json.loads((out / "model.json").read_text())["trial"] == "ort-wide"


def test_a_count_comes_back_as_a_count(registry: Registry, root: Path, tmp_path: Path) -> None:
    registry.open_sweep("counted", {})
    numbers = {"latency_ms": 5678.0, "predicted_ms": 5678.0, "budget_ms": 6000.0, "unit": "1"}
    result = make_result("t", sweep="counted", target="macs", **numbers)
    uri = register(registry, result, root / "files")
    assert registry.results("counted") == [dataclasses.replace(result, model_uri=uri)]
    with pytest.raises(InputError, match=r"within 5 k on target macs; the lowest is 5\.68 k .*; allow 5678,"):
        registry.pull("counted", "macs", 5000, tmp_path / "x")
    assert registry.pull("counted", "macs", 5678, tmp_path / "y")["unit"] == "1"


def test_nothing_to_pull_is_explained(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no network within 1\.000 ms on target ort-cpu-1t; the lowest is 1\.250 ms .*; allow 1\.27,"
    ):
        registry.pull("night", "ort-cpu-1t", 1.0, tmp_path / "x")
    with pytest.raises(InputError, match="target 'ort-cpu-2t'; did you mean 'ort-cpu-1t'"):
        registry.pull("night", "ort-cpu-2t", 1.0, tmp_path / "x")
    with pytest.raises(InputError, match="no sweep 'nigth' in this registry; did you mean 'night'"):
        registry.pull("nigth", "ort-cpu-1t", 1.0, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_wrong_stores_and_names_are_refused(registry: Registry, root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="MLflow takes no plain folder; use sqlite:"):
        Registry("./mlruns", None)
    with pytest.raises(InputError, match="no registry here; run a sweep first"):
        open_registry(tmp_path / "absent", create=False)
    assert not (tmp_path / "absent").exists()
    (tmp_path / "mlflow.db").write_text("this is no database, it is a letter " * 100)
    with pytest.raises(RunError, match="MLflow at sqlite"):
        open_registry(tmp_path)
    with pytest.raises(InputError, match="sweep name 'a/b'"):
        registry.open_sweep("a/b", {})
    with pytest.raises(InputError, match="only one that is done"):
        register(registry, make_result("t", top1=None), root / "files")
    with pytest.raises(InputError, match="no sweep 'unopened'"):
        register(registry, make_result("t", sweep="unopened"), root / "files")


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
    assert registry.results("curves")[0].model_uri == uri
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


def register_and_die(root: Path, sweep: str, fatal_write: int) -> None:
    """Register a trial in this process, which kills itself when MLflow is about to make its n-th write."""
    import mlflow

    registry = open_registry(root)
    count = 0

    def deadly(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == fatal_write:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        return call

    for name in dir(mlflow.MlflowClient):
        if name.startswith(WRITES):
            setattr(mlflow.MlflowClient, name, deadly(getattr(mlflow.MlflowClient, name)))
    registry.open_sweep(sweep, {})
    register(registry, make_result("t", sweep=sweep), root / "files")


def die_at_every_write(root: Path) -> None:
    """Fork a process for every n until one survives; what it imports is warm, the store it writes to untouched."""
    torch.set_num_threads(1)
    warm = open_registry(root / "warm")
    warm.open_sweep("warm", {})
    register(warm, make_result("t", sweep="warm"), root / "warm")
    deaths, status = 0, signal.SIGKILL.value
    while status == signal.SIGKILL:
        child = os.fork()
        if child == 0:
            register_and_die(root, f"kill{deaths}", deaths + 1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        deaths += status == signal.SIGKILL
    (root / "deaths.json").write_text(json.dumps([deaths, status]))


@pytest.mark.timeout(600)
def test_killed_at_any_write_and_repeated_leaves_one_of_each(registry: Registry, root: Path, tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die_at_every_write, args=(root,))
    process.start()
    process.join(500)
    deaths, status = json.loads((root / "deaths.json").read_text())
    assert status == 0
    assert deaths >= 10
    for number in range(deaths + 1):
        sweep = f"kill{number}"
        registry.open_sweep(sweep, {})
        uri = register(registry, make_result("t", sweep=sweep), root / "files")
        assert state_of(registry, sweep, "t") == (1, 1, 1, "FINISHED")
        assert len(registry._client.search_runs([registry.experiment_id], f"attributes.run_name = '{sweep}'")) == 1
        assert registry.results(sweep) == [make_result("t", sweep=sweep, model_uri=uri)]
        best = registry._client.get_model_version_by_alias(f"{sweep}-ort-cpu-1t", "best")
        assert str(best.version) == uri.split("/")[-1]
    assert registry.pull("kill8", "ort-cpu-1t", 2.0, tmp_path / "x")["trial"] == "t"


def test_model_runs_where_nothing_of_ours_can_be_imported(registry: Registry, root: Path, tmp_path: Path) -> None:
    images = torch.randn(5, 1, 8, 8)
    np.save(tmp_path / "images.npy", images.numpy())
    code = f"""
import sys, numpy

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("supernet", "latency", "orchestrator", "configs"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
import mlflow
mlflow.set_tracking_uri({registry.tracking_uri!r})
model = mlflow.pyfunc.load_model("models:/night-ort-cpu-1t@best")
numpy.save("scores.npy", model.predict(numpy.load("images.npy")))
"""
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    expected = make_network()(images).detach().numpy()
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), expected, atol=1e-5, rtol=0)


def test_mlflow_says_nothing(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_registry import make_result, open_registry, register
root = Path({str(tmp_path)!r})
registry = open_registry(root)
registry.open_sweep("quiet", {{}})
register(registry, make_result("t", sweep="quiet"), root / "files")
registry.pull("quiet", "ort-cpu-1t", 9, root / "out")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
