"""A network as an MLflow model: torch.export as its canonical form, ONNX, architecture and weights beside it.

Why here: what a registered model consists of, in one place. It must not import MLflow (it is handed the module by
`orchestrator.registry.connection`) and must not know sweeps or how runs are found.

No pickle: the model is a `pt2` archive, so it runs where nothing of this product is installed.
"""

import copy
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from orchestrator.plan.result import TrialResult
from orchestrator.registry.values import SWEEP_TAG, TRIAL_TAG

# What a pulled folder holds, and where the registered model keeps it.
FILES = {
    "model.pt2": "data/model.pt2",
    "model.onnx": "extra_files/model.onnx",
    "architecture.json": "extra_files/architecture.json",
    "weights.safetensors": "extra_files/weights.safetensors",
}


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_beside(
    folder: Path, architecture: Mapping[str, Any], onnx_path: str | Path, weights_path: str | Path
) -> list[Path]:
    """Gather under their final names the files that travel inside the model."""
    shutil.copyfile(onnx_path, folder / "model.onnx")
    shutil.copyfile(weights_path, folder / "weights.safetensors")
    (folder / "architecture.json").write_text(json.dumps(architecture, indent=2) + "\n")
    return [folder / name for name, place in FILES.items() if place.startswith("extra_files/")]


def log_network(mlflow: Any, result: TrialResult, network: nn.Module, example: Tensor, beside: Sequence[Path]) -> str:
    """Log a copy of the network, on the CPU and in evaluation mode, to the active run.

    Args:
        mlflow: The module.
        result: The trial the network is of.
        network: Takes (n, channels, height, width), returns (n, num_classes).
        example: Shape (n, channels, height, width); only the shape of an image counts.
        beside: From `files_beside`.

    Returns:
        Id of the logged model.
    """
    import numpy as np
    import torch

    standalone = copy.deepcopy(network).cpu().eval()
    # Two images, because torch.export takes a batch of one for a constant; zeros, because they are stored as JSON.
    images = torch.zeros((2, *example.shape[1:]))
    with torch.no_grad():
        num_classes = standalone(images).shape[1]
    types, single = mlflow.types, np.dtype("float32")
    # The specifications have no name: with one, MLflow's own prediction wrapper refuses the model.
    signature = mlflow.models.ModelSignature(
        inputs=types.Schema([types.TensorSpec(single, (-1, *example.shape[1:]))]),
        outputs=types.Schema([types.TensorSpec(single, (-1, num_classes))]),
    )
    info = mlflow.pytorch.log_model(
        standalone,
        name="network",
        input_example=images.numpy(),
        signature=signature,
        serialization_format="pt2",
        extra_files=[str(path) for path in beside],
        # Without the local part of a version (+cu130), which no package index knows.
        pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in ("torch", "numpy")],
        metadata={"architecture": result.architecture, "target": result.target},
        tags={SWEEP_TAG: result.sweep, TRIAL_TAG: result.trial, "target": result.target},
    )
    return str(info.model_id)
