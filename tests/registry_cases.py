"""Registries, results and a small network for the tests of the registry; also imported by processes that they start."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from latency.graphs.export import export_onnx, export_program
from orchestrator.plan.confusion import confusion_of
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import (
    ARCHITECTURE_FILE,
    CONFUSION_FILE,
    ONNX_FILE,
    PICTURE_FILE,
    PREPROCESSING_FILE,
    PROGRAM_FILE,
    WEIGHTS_FILE,
)
from orchestrator.registry.model import NAMES
from orchestrator.registry.store import Registry
from supernet.plain import to_json

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
        data="0123456789abcdef",
        doubt="export differs by 1e-3",
        **numbers,
    )


def files(folder: Path, network: nn.Module) -> dict[str, Path]:
    """Write what is registered of a network, and return it by name."""
    folder.mkdir(exist_ok=True)
    about: dict[str, Any] = {
        "class_names": [f"class {label}" for label in range(10)],
        "input_size": [1, 8, 8],
        "resize": "squeeze",
        "mean": [0.3],
        "std": [0.4],
        "file": ONNX_FILE,
        "runtime": "onnxruntime",
        "precision": "fp32",
        "num_threads": 1,
        "batch": 1,
        "options": {},
        "environment": {"OMP_NUM_THREADS": "1"},
    }
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / WEIGHTS_FILE)
    (folder / PREPROCESSING_FILE).write_text(json.dumps(about))
    (folder / ARCHITECTURE_FILE).write_text(json.dumps(ARCHITECTURE))
    (folder / PROGRAM_FILE).write_bytes(export_program(network, (1, 8, 8)))
    export_onnx(network, (1, 8, 8), folder / ONNX_FILE)
    tallied = {(label, label): 30 for label in range(10)} | {(3, 8): 4}
    confusion = confusion_of("digits", tuple(about["class_names"]), tallied)
    (folder / CONFUSION_FILE).write_text(to_json(confusion))
    (folder / PICTURE_FILE).write_bytes(b"PNG")
    return {name: folder / name for name in (*NAMES, CONFUSION_FILE, PICTURE_FILE)}


def open_registry(root: Path, **more: Any) -> Registry:
    return Registry(f"sqlite:///{root}/mlflow.db", "tests", **more)


def register(registry: Registry, result: TrialResult, folder: Path, network: nn.Module | None = None) -> str:
    network = make_network() if network is None else network
    return registry.register(result, files(folder, network))


def results(registry: Registry, sweep: str) -> list[TrialResult]:
    return [network.result for network in registry.networks(sweep)]


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
