"""Networks that were specialised elsewhere: judged as a file on a target, or refused with what does not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from given_cases import ARCHITECTURE, SPACE, build_digits, timed, trained, write_parts

from latency.graphs.batch import fixed_batch
from latency.graphs.export import export_onnx, export_program
from latency.graphs.quantise import quantise
from latency.target import load_target, read_target
from orchestrator.data.batches import ImageData
from orchestrator.given import Given, judge_and_measure
from orchestrator.plan.result import TrialResult
from orchestrator.registry.image_classifier import ImageClassifier
from orchestrator.trial.records import checksum
from supernet.errors import InputError
from supernet.network import build_network
from supernet.presets import load_space
from supernet.space import architecture_to_json

OTHERS = ((0.5,), (0.25,))
"""A normalisation that is not the data set's own."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_digits(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data: str) -> Path:
    """Files of one network, made outside of any sweep."""
    made = tmp_path_factory.mktemp("given")
    network = trained(data, OTHERS)
    fp32 = export_onnx(network, SPACE.input_size, made / "open.onnx")
    images = ImageData(data, input_size=SPACE.input_size, seed=0, normalisation=OTHERS)
    batch = next(iter(images.once("train", 64)))[0].numpy()
    for name, content in (("own", fp32.read_bytes()), ("own-int8", quantise(fp32.read_bytes(), batch))):
        (made / f"{name}.onnx").write_bytes(fixed_batch(content, 1, name))
    for precision in ("fp32", "bf16"):
        (made / f"{precision}.pt2").write_bytes(export_program(network, SPACE.input_size, precision))
    write_parts(network, made)
    (made / "other.json").write_text(architecture_to_json(SPACE, SPACE.architecture((0,) * 6)))
    return made


def judged(given: Given, made: Path) -> tuple[TrialResult, dict[str, Path]]:
    made.mkdir()
    return judge_and_measure(given, made, sweep="own", trial="one", measure=timed)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("own.onnx", "ort-cpu-1t"),
        ("own-int8.onnx", "ort-cpu-int8-1t"),
        ("fp32.pt2", "torch-cpu-1t"),
        ("bf16.pt2", "torch-cpu-bf16-1t"),
    ],
)
def test_a_model_file_is_delivered_as_it_is(folder: Path, data: str, tmp_path: Path, name: str, target: str) -> None:
    given = Given(folder / name, load_target(target), data, normalisation=OTHERS)
    result, files = judged(given, tmp_path / "made")
    assert checksum((folder / name).read_bytes()) == result.file_sha256
    assert files[result.file].read_bytes() == (folder / name).read_bytes()
    assert set(files) == {result.file, "preprocessing.json", "confusion.json"}
    assert (result.cost, result.unit) == ((folder / name).stat().st_size / 1e6, "ms")
    images = ImageData(data, input_size=SPACE.input_size, seed=0)
    raw, labels = images._groups.native("test", np.arange(images.num_examples("test")))
    found = [int(answer["label"]) for answer in ImageClassifier(tmp_path / "made").predict([p[0] for p in raw])]
    assert np.mean(np.array(found) == labels) == result.top1 > 0.2
    assert result.num_test_images == len(labels)


def test_a_file_with_an_open_batch_is_registered_with_the_targets(folder: Path, data: str, tmp_path: Path) -> None:
    target = read_target({"name": "b8", "runtime": "onnxruntime", "batch": 8}, "target")
    result, files = judged(Given(folder / "open.onnx", target, data, normalisation=OTHERS), tmp_path / "made")
    content = files["model.onnx"].read_bytes()
    assert content == fixed_batch((folder / "open.onnx").read_bytes(), 8, "open")
    assert result.file_sha256 == checksum(content)
    assert len(ImageClassifier(tmp_path / "made").predict(np.zeros((3, 8, 8), np.uint8))) == 3


def test_an_architecture_with_its_weights_gets_all_files(folder: Path, data: str, tmp_path: Path) -> None:
    weights = folder / "own.safetensors"
    target = load_target("ort-cpu-int8-1t")
    given = Given(folder / "own.json", target, data, weights=weights, normalisation=OTHERS)
    result, files = judged(given, tmp_path / "made")
    assert result.architecture == ARCHITECTURE.id
    assert result.num_params > 0
    assert json.loads(files["preprocessing.json"].read_text())["mean"] == [0.5]
    assert {"model.onnx", "model.pt2", "weights.safetensors", "architecture.json"} < set(files)
    with pytest.raises(InputError, match="not the weights of this architecture"):
        judged(Given(folder / "other.json", target, data, weights=weights), tmp_path / "other")


def test_what_does_not_fit_is_refused_with_the_reason(folder: Path, data: str, tmp_path: Path) -> None:
    (tmp_path / "torn.onnx").write_bytes((folder / "own.onnx").read_bytes()[:100])
    (tmp_path / "four.onnx").write_bytes(fixed_batch((folder / "open.onnx").read_bytes(), 4, "four"))
    few = build_network(load_space({"base": "digits", "num_classes": 3}), ARCHITECTURE)
    export_onnx(few, SPACE.input_size, tmp_path / "few.onnx")
    torch.onnx.export(few.eval(), (torch.zeros(1, *SPACE.input_size),), tmp_path / "apart.onnx", verbose=False)
    for number, (file, target, reason) in enumerate(
        (
            (folder / "own.onnx", "torch-cpu-1t", r"target torch-cpu-1t runs model\.pt2"),
            (folder / "own.onnx", "ort-cpu-int8-1t", "in fp32, and target ort-cpu-int8-1t runs int8"),
            (folder / "own-int8.onnx", "ort-cpu-1t", "in int8, and target ort-cpu-1t runs fp32.*name a target of int8"),
            (folder / "own-int8.onnx", "openvino-cpu-bf16-1t", "in int8, and target openvino-cpu-bf16-1t runs bf16"),
            (folder / "fp32.pt2", "torch-cpu-bf16-1t", "in fp32, and target torch-cpu-bf16-1t runs bf16"),
            (folder / "own.onnx", "macs", "nothing is measured on it"),
            (folder / "own.json", "ort-cpu-1t", "give --weights"),
            (tmp_path / "few.onnx", "ort-cpu-1t", r"outputs \(3,\) for an image; the data has 10 classes"),
            (tmp_path / "apart.onnx", "ort-cpu-1t", r"its weights are in apart\.onnx\.data, .*external_data=False"),
            (tmp_path / "four.onnx", "ort-cpu-1t", r"four\.onnx: takes 4 images at once, and the target has batch 1"),
            (tmp_path / "torn.onnx", "ort-cpu-1t", "not an ONNX model"),
            (tmp_path / "none.onnx", "ort-cpu-1t", "no such file"),
        )
    ):
        with pytest.raises(InputError, match=reason):
            judged(Given(file, load_target(target), data), tmp_path / str(number))
