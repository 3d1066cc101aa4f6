"""A network as an MLflow model: its files as they are, and the code that runs them where nothing of ours is installed.

Why here: what a registered model consists of, in one place. It must not import MLflow (it is handed the module by
`orchestrator.registry.store`) and must not know sweeps or how runs are found.

No pickle: the torch export is MLflow's `pytorch` flavour, and `image_classifier.py` beside it is its `python_function`.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from orchestrator.plan.confusion import Confusion
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
from orchestrator.registry import image_classifier
from orchestrator.registry.values import SWEEP_TAG, TRIAL_TAG
from orchestrator.report.confusion import draw_confusion
from supernet.errors import InputError, nearest
from supernet.plain import read_json

NAMES = (PROGRAM_FILE, ONNX_FILE, PREPROCESSING_FILE, ARCHITECTURE_FILE, WEIGHTS_FILE)
CODE = Path(image_classifier.__file__)
FOLDER, CARD = "network", "card"
FILES = {name: f"data/{FOLDER}/{name}" for name in NAMES} | {CODE.name: f"code/{CODE.name}"}
"""What a pulled folder holds, and where the registered model keeps it."""

PIXELS_FILE = "model-pixels.onnx"
"""What `pull --pixels` makes of it: the network with its preprocessing inside."""

FORMATS = {
    "onnx": (ONNX_FILE, PREPROCESSING_FILE, CODE.name),
    "pt2": (PROGRAM_FILE, PREPROCESSING_FILE, CODE.name),
    "module": (ARCHITECTURE_FILE, WEIGHTS_FILE),
}
"""What of it a format is: to run with ONNX Runtime or OpenVINO, to run with torch, to train on."""


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def in_format(format: str, there: Sequence[str], model: str) -> list[str]:
    """Return which of the files that a model has make a format, all of them without one.

    Raises:
        InputError: If there is no such format, or one of its files is not there.
    """
    if format and format not in FORMATS:
        raise InputError(f"format {format!r}{nearest(format, FORMATS)}")
    wanted = FORMATS.get(format, tuple(there))
    missing = [name for name in wanted if name not in there]
    if missing:
        raise InputError(f"format {format!r}: {model} was registered without {', '.join(missing)}")
    return list(wanted)


def confusion_in(files: Mapping[str, Path]) -> Confusion | None:
    """Return the confusion that comes with a network's files, if it does."""
    if CONFUSION_FILE not in files:
        return None
    found: Confusion = read_json(Confusion, files[CONFUSION_FILE].read_bytes(), str(files[CONFUSION_FILE]))
    return found


def requirements(runtime: str, versions: Mapping[str, str]) -> list[str]:
    """Return what whoever loads a model installs.

    Args:
        runtime: The package that runs it; the driver, which writes this, need not have it.
        versions: What the model's figures are of, by package; a runtime without one is required in any version.
    """
    pinned = {"numpy": version("numpy"), "pillow": version("pillow"), runtime: versions.get(runtime, "")}
    # Without the local part of a version (+cu130), which no package index knows.
    return [f"{name}=={found.split('+')[0]}" if found else name for name, found in pinned.items()]


class _Flavour:
    """Writes the folder of a model; MLflow's `Model.log` calls it."""

    def __init__(self, mlflow: Any, files: Mapping[str, Path], versions: Mapping[str, str]) -> None:
        self.mlflow, self.files, self.versions, self.confusion = mlflow, files, versions, confusion_in(files)

    def save_model(self, path: str, mlflow_model: Any) -> None:
        """Save the files under `path`, loadable by `mlflow.pyfunc`, and by `mlflow.pytorch` if torch can run one."""
        about = json.loads(self.files[PREPROCESSING_FILE].read_text())
        torch_version = version("torch")
        if PROGRAM_FILE in self.files:
            mlflow_model.add_flavor("pytorch", model_data=f"data/{FOLDER}", pytorch_version=torch_version, code="code")
        with tempfile.TemporaryDirectory(prefix="onepath-model-") as made:
            folder = Path(made) / FOLDER
            folder.mkdir()
            for name in NAMES:
                if name in self.files:
                    shutil.copyfile(self.files[name], folder / name)
            self.mlflow.pyfunc.save_model(
                path,
                mlflow_model=mlflow_model,
                loader_module=CODE.stem,
                data_path=str(folder),
                code_paths=[str(CODE)],
                pip_requirements=requirements(about["runtime"], self.versions),
                model_config={"runtime": about["runtime"]},
            )
        card = Path(path) / CARD
        card.mkdir()
        for file in (CONFUSION_FILE, PICTURE_FILE):
            if file in self.files:
                shutil.copyfile(self.files[file], card / file)
        if self.confusion is not None:
            draw_confusion(self.confusion, card / "confusion.png")


def log_network(mlflow: Any, result: TrialResult, files: Mapping[str, Path], versions: Mapping[str, str]) -> str:
    """Log a network's files to the active run.

    Args:
        mlflow: The module.
        result: The trial the network is of.
        files: Those of `NAMES` that there are, and what there is for the card.
        versions: Of the packages that its figures are of, where known.

    Returns:
        Id of the logged model.
    """
    about = json.loads(files[PREPROCESSING_FILE].read_text())
    told = {"architecture": result.architecture, "target": result.target, "file_sha256": result.file_sha256}
    info = mlflow.models.Model.log(
        artifact_path=None,
        name="network",
        flavor=_Flavour(mlflow, files, versions),
        flavor_name="onepath",
        metadata=about | told,
        tags={SWEEP_TAG: result.sweep, TRIAL_TAG: result.trial, "target": result.target, "status": result.status},
    )
    return str(info.model_id)
