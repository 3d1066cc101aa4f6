"""`onepath register` with a real measurement and a real registry: found, fetched and run as a sweep's networks are."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from given_cases import SPACE, build_digits, trained

from latency.graphs.batch import fixed_batch
from latency.graphs.export import export_onnx
from orchestrator.data.batches import ImageData

ONEPATH = str(Path(sys.executable).parent / "onepath")


def onepath(folder: Path, *arguments: str) -> str:
    done = subprocess.run([ONEPATH, *arguments], cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(1800)
def test_a_file_from_elsewhere_is_registered_like_a_sweeps_network(tmp_path: Path) -> None:
    data = build_digits(tmp_path / "data")
    file = export_onnx(trained(data), SPACE.input_size, tmp_path / "own.onnx")
    where = ("--name", "elsewhere", "--target", "ort-cpu-1t", "--data", data, "--seconds", "0.2")
    told = json.loads(onepath(tmp_path, "register", "own.onnx", *where, "--json"))
    assert told["model_uri"] == "models:/elsewhere-ort-cpu-1t/1"
    assert (told["trial"], told["file"], told["architecture"]) == ("ort-cpu-1t-own", "model.onnx", "")
    assert told["top1"] > 0.5
    assert told["cost"] > 0

    address = f"sqlite:///{tmp_path}/onepath-runs/mlflow.db"
    (listed,) = json.loads(onepath(tmp_path, "models", "--json"))
    assert {**listed, "model": 0, "version": 0, "aliases": 0} == {**told, "model": 0, "version": 0, "aliases": 0}
    pulled = ("pull", "elsewhere", "--target", "ort-cpu-1t", "--alias", "best")
    assert "specialised elsewhere" in onepath(tmp_path, *pulled, "--pixels")
    folder = tmp_path / "elsewhere-ort-cpu-1t"
    assert (folder / "model.onnx").read_bytes() == fixed_batch(file.read_bytes(), 1, "own")
    names = {"model.onnx", "model-pixels.onnx", "preprocessing.json", "image_classifier.py", "model.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert {*json.loads((folder / "model.json").read_text())["files"]} == names
    refused = subprocess.run(
        [ONEPATH, *pulled, "--format", "pt2"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert refused.returncode == 2
    assert "was registered without model.pt2" in refused.stderr

    mlflow.set_tracking_uri(address)
    classifier = mlflow.pyfunc.load_model("models:/elsewhere-ort-cpu-1t@best")
    images, labels = next(iter(ImageData(data, input_size=SPACE.input_size, seed=0).once("test", 400)))
    found = [answer["label"] for answer in classifier.predict(images.numpy())]
    right = sum(label == str(int(wanted)) for label, wanted in zip(found, labels, strict=True))
    assert right == round(told["top1"] * told["num_test_images"])
