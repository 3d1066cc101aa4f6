"""Registries, results and a small network for the tests of the registry; also imported by processes that they start."""

from pathlib import Path
from typing import Any

import onnx
import torch
from safetensors.torch import save_file
from torch import nn

from orchestrator.plan.result import TrialResult
from orchestrator.registry.store import Registry

ARCHITECTURE = {"space": "tiny", "candidates": ["k3e3", "skip"]}


def make_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Dropout(0.5), nn.Linear(4, 10))
    network(torch.randn(16, 1, 8, 8))  # moves the running statistics away from 0 and 1
    return network.eval()


def make_result(trial: str, *, sweep: str = "night", target: str = "ort-cpu-1t", **numbers: Any) -> TrialResult:
    numbers = {"cost": 1.25, "top1": 0.9123456789012345, "predicted_cost": 1.2, "budget": 1.5} | numbers
    numbers = {"validation_top1": numbers["top1"]} | numbers
    return TrialResult(
        sweep=sweep,
        trial=trial,
        target=target,
        objective="budget",
        seed=7,
        num_test_images=360,
        num_validation_images=180,
        num_params=1234,
        num_macs=5678,
        architecture="k3e3-skip",
        cost_error=0.01,
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
    return Registry(f"sqlite:///{root}/mlflow.db", "tests", **more)


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
