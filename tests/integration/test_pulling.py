"""What comes out of the registry: the network that was asked for, run with nothing of ours, or why there is none."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from registry_cases import ARCHITECTURE, make_network, make_result, register, results
from safetensors.torch import load_file

from orchestrator.registry.model import FILES, FORMATS, PIXELS_FILE
from orchestrator.registry.pulled import add
from orchestrator.registry.store import Registry
from supernet.errors import InputError


def test_pull_brings_the_most_accurate_network_within_the_limit(registry: Registry, root: Path, tmp_path: Path) -> None:
    wide = registry.pull("night", "ort-cpu-1t", tmp_path / "wide", max_ms=2.5)
    assert (wide["trial"], wide["cost"]) == ("ort-wide", 2.5)
    tight = registry.pull("night", "ort-cpu-1t", tmp_path / "tight", max_ms=2.4)
    assert tight["trial"] == "ort-tight"
    out = tmp_path / "tight"
    assert {path.name for path in out.iterdir()} == {*FILES, "model.json"}
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
    np.testing.assert_allclose(session.run(None, {"input": images.numpy()})[0], expected.detach(), atol=1e-5)
    registry.pull("night", "ort-cpu-1t", out, max_ms=2.5)  # replaces
    assert json.loads((out / "model.json").read_text())["trial"] == "ort-wide"
    (out / "mine.txt").write_text("kept")
    add(out, PIXELS_FILE, b"of another network")
    registry.pull("night", "ort-cpu-1t", out, max_ms=2.4, format="onnx")
    assert {path.name for path in out.iterdir()} == {*FORMATS["onnx"], "model.json", "mine.txt"}


def test_a_count_comes_back_as_a_count(registry: Registry, root: Path, tmp_path: Path) -> None:
    registry.open_sweep("counted", {})
    numbers = {"cost": 5678.0, "predicted_cost": 5678.0, "budget": 6000.0, "unit": "1"}
    result = make_result("t", sweep="counted", target="macs", **numbers)
    uri = register(registry, result, root / "files")
    assert results(registry, "counted") == [dataclasses.replace(result, model_uri=uri)]
    with pytest.raises(InputError, match=r"within 5 k on target macs; the lowest is 5\.68 k .*; allow 5678,"):
        registry.pull("counted", "macs", tmp_path / "x", max_count=5000)
    assert registry.pull("counted", "macs", tmp_path / "y", max_count=5678)["unit"] == "1"


def test_nothing_to_pull_is_explained(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no network within 1\.000 ms on target ort-cpu-1t; the lowest is 1\.250 ms .*; allow 1\.27,"
    ):
        registry.pull("night", "ort-cpu-1t", tmp_path / "x", max_ms=1.0)
    with pytest.raises(InputError, match="target 'ort-cpu-2t'; did you mean 'ort-cpu-1t'"):
        registry.pull("night", "ort-cpu-2t", tmp_path / "x", max_ms=1.0)
    with pytest.raises(InputError, match="no network of sweep 'nigth' in this registry; did you mean 'night'"):
        registry.pull("nigth", "ort-cpu-1t", tmp_path / "x", max_ms=1.0)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("refused", ["torch", "onnxruntime"])
def test_model_runs_where_nothing_of_ours_can_be_imported(
    registry: Registry, root: Path, tmp_path: Path, refused: str
) -> None:
    """As it was delivered without torch; and as a torch export without ONNX Runtime."""
    images = torch.randn(5, 1, 8, 8)
    np.save(tmp_path / "images.npy", images.numpy())
    runtime = {"torch": "None", "onnxruntime": "{'runtime': 'torch'}"}[refused]
    code = f"""
import json, sys, numpy

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("supernet", "latency", "orchestrator", "configs"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
sys.modules[{refused!r}] = None
import mlflow
mlflow.set_tracking_uri({registry.tracking_uri!r})
uri, images = "models:/night-ort-cpu-1t@best", numpy.load("images.npy")
model = mlflow.pyfunc.load_model(uri, model_config={runtime})
json.dump(model.predict(images), open("answers.json", "w"))
if {refused!r} == "onnxruntime":
    import torch
    with torch.inference_mode():
        numpy.save("logits.npy", mlflow.pytorch.load_model(uri)(torch.from_numpy(images)).numpy())
"""
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    expected = make_network()(images).detach()
    answers = json.loads((tmp_path / "answers.json").read_text())
    assert [answer["label"] for answer in answers] == [f"class {label}" for label in expected.argmax(1)]
    found = [[answer["probabilities"][f"class {label}"] for label in range(10)] for answer in answers]
    np.testing.assert_allclose(found, expected.softmax(1), atol=1e-5)
    if refused == "onnxruntime":
        np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-5)
