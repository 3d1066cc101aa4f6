"""The delivered files: made of training images, the same each time, with all that runs them."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from repository import ROOT

from latency.graphs.archive import load_program
from latency.graphs.model import file_forms
from latency.measuring.answers import answers
from latency.measuring.process import child_environment
from latency.target import load_target, read_target
from orchestrator.data.batches import ImageData
from orchestrator.data.build import build
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import (
    ONNX_FILE,
    OUTCOME_FILE,
    PREPROCESSING_FILE,
    PROGRAM_FILE,
    SEARCH_FILE,
    TRAIN_FOLDER,
    WEIGHTS_FILE,
    Job,
    Trial,
    plan_trials,
)
from orchestrator.registry.image_classifier import ImageClassifier
from orchestrator.trial.corrections import Correction, keep_corrections
from orchestrator.trial.deliver import top1
from orchestrator.trial.files import MADE, awaits_measurement, delivered_file, make_files, preprocessing
from orchestrator.trial.records import Outcome, checksum, write_record
from orchestrator.trial.stages import open_data
from supernet.network import build_network
from supernet.presets import read_preset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("data") / "digits")
    build("digits", folder, validation_fraction=0.1, test_fraction=0.2, seed=0)
    return folder


def job_of(root: Path, data: str, target: str | dict[str, object], **deliver: object) -> tuple[Job, Trial]:
    definition, _ = read_preset(str(ROOT / "benchmarks"), str(ROOT / "benchmarks" / "small_sweep.yaml"))
    changes = {"name": "n", "targets": [target], "sweep": {"budget_fractions": [0.5]}, "storage": str(root)}
    job = Job(resolved(check_run({**definition, **changes, "deliver": deliver}, "n")), data)
    (trial,) = plan_trials(job.run)
    return job, trial


def network_of(job: Job) -> torch.nn.Module:
    """Return a network whose batch norms know the images, so that its outputs are no noise."""
    network = build_network(job.space, job.space.architecture([0] * len(job.space.positions)))
    with torch.no_grad():
        for images, _ in open_data(job).once("train", 64):
            network(images)
    return network.eval()


def made(root: Path, data: str, target: str, **deliver: object) -> dict[str, bytes]:
    job, trial = job_of(root, data, target, **deliver)
    make_files(job, trial, lambda: network_of(job), lambda news: None)
    return {name: job.trial_store(trial).read(name) for name in MADE}


def test_files_are_the_same_each_time_and_only_what_is_damaged_is_made(tmp_path: Path, data: str) -> None:
    first = made(tmp_path / "first", data, "ort-cpu-int8-1t")
    assert made(tmp_path / "second", data, "ort-cpu-int8-1t") == first
    job, trial = job_of(tmp_path / "first", data, "ort-cpu-int8-1t")
    make_files(job, trial, lambda: pytest.fail("nothing is missing"), lambda news: None)
    job.trial_store(trial).write(ONNX_FILE, b"damaged")
    assert made(tmp_path / "first", data, "ort-cpu-int8-1t") == first


def test_int8_is_made_of_training_images_and_only_where_the_target_is_int8(tmp_path: Path, data: str) -> None:
    def quantised(content: bytes) -> bool:
        return any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(content).graph.node)

    int8 = made(tmp_path / "int8", data, "ort-cpu-int8-1t")
    assert quantised(int8[ONNX_FILE])
    assert not quantised(made(tmp_path / "fp32", data, "ort-cpu-1t")[ONNX_FILE])
    fewer = made(tmp_path / "fewer", data, "ort-cpu-int8-1t", int8={"num_images": 2})
    assert fewer[ONNX_FILE] != int8[ONNX_FILE], "other images give other ranges"
    assert fewer[PROGRAM_FILE] == int8[PROGRAM_FILE]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("batch", [1, 4])
def test_the_graph_that_is_timed_and_judged_is_the_delivered_one(
    tmp_path: Path, data: str, precision: str, batch: int
) -> None:
    target = {"name": "own", "runtime": "onnxruntime", "batch": batch, "precision": precision}
    job, trial = job_of(tmp_path / "runs", data, target)
    make_files(job, trial, lambda: network_of(job), lambda news: None)
    file = job.trial_store(trial).fetch(ONNX_FILE, tmp_path)
    assert file_forms(file, batch).onnx() == file.read_bytes()
    dims = onnx.load(file).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [batch, *job.space.input_size]


FILES = [
    ("ort-cpu-1t", ONNX_FILE),
    ("ort-cpu-int8-1t", ONNX_FILE),
    ("torch-cpu-1t", PROGRAM_FILE),
    ("torch-cpu-bf16-1t", PROGRAM_FILE),
]


@pytest.mark.parametrize(("target", "file"), FILES)
def test_the_files_reproduce_on_raw_images_what_they_are_judged_by(tmp_path: Path, data: str, target: str, file: str):
    files = made(tmp_path / "runs", data, target)
    job, _ = job_of(tmp_path / "runs", data, target)
    folder = tmp_path / "pulled"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    classifier, images = ImageClassifier(folder), open_data(job)
    assert delivered_file(load_target(target)) == file == classifier.about["file"]
    assert classifier.class_names == list(images.manifest.class_names)
    raw, labels = images._groups.native("test", np.arange(images.num_examples("test")))
    found = [classifier.class_names.index(a["label"]) for a in classifier.predict([p[0] for p in raw])]
    judged = partial(answers, folder / file, load_target(target))
    assert np.mean(np.array(found) == labels) == top1(judged, images.once("test", 50))


def test_a_bf16_target_gets_a_file_in_bf16_that_takes_and_gives_fp32(tmp_path: Path, data: str) -> None:
    files = made(tmp_path / "bf16", data, "torch-cpu-bf16-1t")
    (tmp_path / PROGRAM_FILE).write_bytes(files[PROGRAM_FILE])
    program = load_program(tmp_path / PROGRAM_FILE)
    assert {w.dtype for w in program.state_dict.values() if w.is_floating_point()} == {torch.bfloat16}
    job, _ = job_of(tmp_path / "bf16", data, "torch-cpu-bf16-1t")
    images = torch.cat([images for images, _ in open_data(job).once("test", 64)])
    with torch.inference_mode():
        found, wanted = program.module()(images), network_of(job)(images)
    assert found.dtype == torch.float32
    assert torch.equal(found, found.bfloat16().float()), "it computes in bf16"
    assert not torch.equal(found, wanted)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 0.05


def test_what_runs_an_onnx_file_travels_in_it(tmp_path: Path, data: str) -> None:
    files = made(tmp_path, data, "ort-cpu-1t")
    session = onnxruntime.InferenceSession(files[ONNX_FILE], providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["onepath"])
    assert about == json.loads(files[PREPROCESSING_FILE])
    assert (about["file"], about["runtime"], about["class_names"][3]) == (ONNX_FILE, "onnxruntime", "3")
    job, _ = job_of(tmp_path, data, "ort-cpu-1t")
    timed_with = child_environment(job.target("ort-cpu-1t"), {})
    assert about["environment"].items() <= timed_with.items()
    assert {"OMP_NUM_THREADS", "GLIBC_TUNABLES", "MALLOC_TOP_PAD_"} < set(about["environment"])


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ({"runtime": "torch", "options": {"channels_last": True}}, {"channels_last": True}),
        ({"runtime": "command", "options": {"command": ["./bench.sh"]}}, {}),
        ({"runtime": "macs"}, {}),
    ],
)
def test_options_and_environment_are_told_where_the_file_is_timed_with_them(data: str, target, options) -> None:
    images = ImageData(data, input_size=(1, 16, 16), seed=0)
    about = preprocessing(read_target({"name": "own", **target}, "target"), images)
    assert about["options"] == options
    assert bool(about["environment"]) == bool(options)


def test_a_trial_awaits_a_measurement_when_it_is_searched_or_trained_and_while_it_is_neither_it_does_not(
    tmp_path: Path,
) -> None:
    job, trial = job_of(tmp_path, "", "ort-cpu-1t")
    store, train = job.trial_store(trial), job.store.child(TRAIN_FOLDER)
    assert not awaits_measurement(job, trial)
    train.child(trial.key).write("search-000010/state.pt", b"")
    assert not awaits_measurement(job, trial), "it may be in the middle of its search"
    store.write_json(SEARCH_FILE, {})
    assert awaits_measurement(job, trial), "no network could be derived"
    train.child(trial.key).write("train-000000/state.pt", b"")
    assert not awaits_measurement(job, trial), "its training was lost"
    store.write(WEIGHTS_FILE, b"weights")
    write_record(store, OUTCOME_FILE, Outcome("a", 0.9, 10, 10, checksum(b"weights"), 0))
    assert awaits_measurement(job, trial), "its network could not be delivered"
    keep_corrections(store, [Correction("a", 1.1)])
    assert awaits_measurement(job, trial), "no other network could be derived"
    train.child(f"{trial.key}-again1").write("train-000000/state.pt", b"")
    assert not awaits_measurement(job, trial)
