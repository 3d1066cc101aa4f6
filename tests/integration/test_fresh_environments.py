"""What a sweep registered, where there are MLflow and torch only, or ONNX Runtime only: the registered top-1, exactly.

The environments hold nothing else, see `tests/environments.py`; raw test images go in, class names come out.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from environments import fresh_python
from given_cases import build_digits, timed, trained, write_parts

from latency.target import load_target
from orchestrator.data.format import read_manifest
from orchestrator.data.pixels import decode
from orchestrator.data.shards import read_group
from orchestrator.data.storage import Storage
from orchestrator.given import Given, judge_and_measure
from orchestrator.plan.result import TrialResult
from orchestrator.registry.model import checksum
from orchestrator.registry.store import Registry

TORCH, ONNX = ("torch-cpu-1t", "torch-cpu-bf16-1t"), ("ort-cpu-1t", "ort-cpu-int8-1t")

WITH_MLFLOW = """
import json, sys
from pathlib import Path

unpickled = []
import mlflow.pytorch
import torch
sys.addaudithook(lambda event, args: unpickled.append(str(args)) if event == "pickle.find_class" else None)
try:
    import onnxruntime
    sys.exit("this environment has ONNX Runtime")
except ModuleNotFoundError:
    pass
mlflow.set_tracking_uri(sys.argv[1])
images = [file.read_bytes() for file in sorted(Path("images").iterdir())]
labels = {}
for name in sys.argv[2:]:
    uri = f"models:/{name}@best"
    config = {"runtime": "torch"}
    labels[name] = [answer["label"] for answer in mlflow.pyfunc.load_model(uri, model_config=config).predict(images)]
    assert not mlflow.pytorch.load_model(uri)(torch.zeros(2, 1, 16, 16)).isnan().any()
assert not unpickled, unpickled
json.dump(labels, open("labels.json", "w"))
"""

WITH_ONNX_RUNTIME = """
import json, sys
import numpy

for absent in ("torch", "mlflow", "PIL", "supernet"):
    try:
        __import__(absent)
        sys.exit(f"this environment has {absent}")
    except ModuleNotFoundError:
        pass
images, labels = numpy.load("pixels.npy"), {}
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    from image_classifier import ImageClassifier
    labels[folder] = [answer["label"] for answer in ImageClassifier(folder).predict(images)]
json.dump(labels, open("labels.json", "w"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a network is registered for an fp32, a bf16 and an int8 target, with the raw test images beside it."""
    made = tmp_path_factory.mktemp("fresh")
    data = build_digits(made / "data")
    architecture, weights = write_parts(trained(data), made)
    registry = Registry(f"sqlite:///{made}/mlflow.db")
    registry.open_sweep("fresh", {})
    for target in (*TORCH, *ONNX):
        (made / target).mkdir()
        given = Given(architecture, load_target(target), data, weights=weights)
        result, files = judge_and_measure(given, made / target, sweep="fresh", trial=target, measure=timed)
        registry.register(result, files)
        registry.pull("fresh", target, made / f"pulled-{target}", alias="best")
    (made / "images").mkdir()
    encoded, _ = raw_images(made)
    for number, content in enumerate(encoded):
        (made / "images" / f"{number:04}.png").write_bytes(content)
    np.save(made / "pixels.npy", np.stack([decode(content, 1, "a test image")[0] for content in encoded]))
    return made


def raw_images(folder: Path) -> tuple[list[bytes], list[str]]:
    """Return the encoded test images, and the names of their classes."""
    store = Storage(str(folder / "data"))
    manifest = read_manifest(store)
    shards = [shard for shard in manifest.shards if shard.split == "test"]
    groups = [read_group(store, shard, n, manifest.num_classes) for shard in shards for n in range(len(shard.rows))]
    labels = [manifest.class_names[label] for group in groups for label in group.labels]
    return [group.image(row) for group in groups for row in range(len(group.encoded))], labels


def results(folder: Path) -> dict[str, TrialResult]:
    """Return what was registered, as MLflow keeps it."""
    networks = Registry(f"sqlite:///{folder}/mlflow.db", create=False).networks("fresh")
    return {network.result.target: network.result for network in networks}


def answered(folder: Path, python: Path, code: str, *arguments: str) -> dict[str, float]:
    """Run a program in an environment; return the top-1 of what it answered by name."""
    environment = {"PATH": os.environ["PATH"], "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    command = [str(python), "-I", "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1500, env=environment)
    assert done.returncode == 0, done.stderr
    _, labels = raw_images(folder)
    told = json.loads((folder / "labels.json").read_text())
    return {name: np.mean([a == b for a, b in zip(given, labels, strict=True)]) for name, given in told.items()}


@pytest.mark.timeout(1800)
def test_mlflow_and_torch_reproduce_the_registered_accuracy(folder: Path) -> None:
    python = fresh_python(folder / "with-mlflow", ("mlflow", "torch"))
    known, names = results(folder), {target: f"fresh-{target}" for target in (*TORCH, *ONNX)}
    found = answered(folder, python, WITH_MLFLOW, f"sqlite:///{folder}/mlflow.db", *names.values())
    assert {target: found[names[target]] for target in TORCH} == {target: known[target].top1 for target in TORCH}
    assert {target: found[names[target]] for target in ONNX} == {target: known[target].torch_top1 for target in ONNX}
    assert all(known[target].top1 > 0.5 for target in names), "a network that learnt nothing proves nothing"


@pytest.mark.timeout(1800)
def test_onnx_runtime_alone_reproduces_the_registered_accuracy(folder: Path) -> None:
    python, known = fresh_python(folder / "with-onnxruntime", ("onnxruntime",)), results(folder)
    found = answered(folder, python, WITH_ONNX_RUNTIME, *(f"pulled-{target}" for target in ONNX))
    assert found == {f"pulled-{target}": known[target].top1 for target in ONNX}
    digests = {target: checksum(folder / f"pulled-{target}" / "model.onnx") for target in ONNX}
    assert digests == {target: known[target].file_sha256 for target in ONNX}
