"""The files of a trial's network, made of its weights: the same bytes each time, kept with their checksums.

Why here: a trial makes them, and who registers them later makes again what is lost, where there is no Ray. It must not
know how the network was found, nor what is said of it.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import nn

from latency.graphs.batch import fixed_batch
from latency.graphs.export import export_onnx, export_program, with_metadata
from latency.graphs.quantise import Quantisation, quantise
from latency.measuring.process import target_environment
from latency.target import Target
from orchestrator.data.batches import ImageData
from orchestrator.data.storage import Storage
from orchestrator.plan.news import News
from orchestrator.plan.trials import (
    ARCHITECTURE_FILE,
    CONFUSION_FILE,
    ONNX_FILE,
    OUTCOME_FILE,
    PICTURE_FILE,
    PREPROCESSING_FILE,
    PROGRAM_FILE,
    SEARCH_FILE,
    TRAIN_FOLDER,
    WEIGHTS_FILE,
    Job,
    Trial,
    checkpoints_in,
)
from orchestrator.report.architecture import draw_network
from orchestrator.trial.corrections import corrections_of, train_key
from orchestrator.trial.place import Post
from orchestrator.trial.records import Outcome, is_intact, known_evaluation, read_checked, read_record, write_beside
from orchestrator.trial.stages import open_data
from supernet.errors import RunError
from supernet.network import build_network
from supernet.plain import to_json
from supernet.space import Architecture, architecture_to_json

MADE = (PREPROCESSING_FILE, PROGRAM_FILE, ONNX_FILE)
"""What is made of a network's weights."""


def describe_network(job: Job, trial: Trial, outcome: Outcome) -> None:
    """Write the architecture of a trial's network, where it is missing or of another one."""
    store = job.trial_store(trial)
    described = architecture_to_json(job.space, Architecture.parse(outcome.architecture)).encode()
    if not store.exists(ARCHITECTURE_FILE) or store.read(ARCHITECTURE_FILE) != described:
        store.write(ARCHITECTURE_FILE, described)


def delivered_file(target: Target) -> str:
    """Return the name of the file that a target runs."""
    return ONNX_FILE if target.traits.takes_onnx else PROGRAM_FILE


def kept_precision(target: Target, name: str) -> str:
    """Return the precision that a file is kept in for a target; a runtime may compute an fp32 ONNX file in bf16."""
    if name == PROGRAM_FILE:
        return "fp32" if target.traits.takes_onnx else target.precision
    return "int8" if target.precision == "int8" else "fp32"


def kept_form(target: Target, name: str) -> tuple[str, int | None]:
    """Return what a target's file differs by from another target's: its precision, and the batch of an ONNX file."""
    return kept_precision(target, name), target.batch if name == ONNX_FILE else None


def preprocessing(target: Target, data: ImageData) -> dict[str, Any]:
    """Return what whoever runs the files must know of images, classes and runtime, as `preprocessing.json`.

    Its `options` and its `environment`, the variables that its process was started with, are those it was timed with;
    none where a program outside times it, or nothing does.
    """
    mean, std = data.normalisation
    timed_here = target.measured and not target.traits.external
    return {
        "class_names": list(data.manifest.class_names),
        "input_size": list(data.input_size),
        "resize": "squeeze" if data.preset.fixed else "crop",
        "mean": list(mean),
        "std": list(std),
        "file": delivered_file(target),
        "runtime": target.traits.served_by,
        "precision": target.precision,
        "num_threads": target.threads,
        "batch": target.batch,
        "options": dict(target.options) if timed_here else {},
        "environment": target_environment(target) if timed_here else {},
    }


def make_files(job: Job, trial: Trial, network: Callable[[], nn.Module], post: Post) -> None:
    """Write the network's files, those that are missing or damaged; they are the same each time.

    Args:
        job: The sweep.
        trial: The network's.
        network: Gives it with its final weights.
        post: Told what is being done.
    """
    store, target = job.trial_store(trial), job.target(trial.target)
    missing = [name for name in MADE if not is_intact(store, name)]
    if not missing:
        return
    post(News(trial.key, "export"))
    makers = makers_of(network(), target, open_data(job), job.run.deliver.int8)
    for name in missing:
        write_beside(store, name, makers[name]())


def makers_of(
    network: nn.Module, target: Target, data: ImageData, int8: Quantisation
) -> dict[str, Callable[[], bytes]]:
    """Return what makes each of `MADE` of a network.

    Args:
        network: With its final weights.
        target: That it is delivered for.
        data: The images as it sees them; training images show an int8 network what its activations are.
        int8: How it becomes one.
    """
    about = json.dumps(preprocessing(target, data), indent=1)
    return {
        PREPROCESSING_FILE: about.encode,
        PROGRAM_FILE: lambda: export_program(network, data.input_size, kept_precision(target, PROGRAM_FILE)),
        ONNX_FILE: lambda: with_metadata(_onnx(network, target, data, int8), {"onepath": about}),
    }


def _onnx(network: nn.Module, target: Target, data: ImageData, int8: Quantisation) -> bytes:
    with tempfile.TemporaryDirectory(prefix="onepath-export-") as folder:
        content = export_onnx(network, data.input_size, Path(folder) / ONNX_FILE).read_bytes()
    if kept_precision(target, ONNX_FILE) == "int8":
        # Rows were shuffled when they were written: the first are as good as any.
        batches = data.once("train", int8.num_images, limit=int8.num_images)
        content = quantise(content, torch.cat([images for images, _ in batches]).numpy(), int8)
    return fixed_batch(content, target.batch, ONNX_FILE)  # only now: many images at once are quantised with


def files_of(job: Job, trial: Trial, folder: Path) -> dict[str, Path]:
    """Return a finished trial's files by name; what is missing or damaged is made again from its weights.

    With them come the picture of the architecture and, where it is known, the confusion, for the model card.

    Args:
        job: The sweep.
        trial: One with a result.
        folder: For copies, where the storage is no folder, and for what is made for the registry alone.

    Raises:
        RunError: If what they are made from is damaged.
    """
    store = job.trial_store(trial)
    outcome, weights = stored_outcome(store)
    describe_network(job, trial, outcome)
    make_files(job, trial, lambda: network_of(job, outcome, weights), lambda news: None)
    found = {name: store.fetch(name, folder) for name in (*MADE, ARCHITECTURE_FILE, WEIGHTS_FILE)}
    draw_network(job.space, Architecture.parse(outcome.architecture), folder / PICTURE_FILE)
    found[PICTURE_FILE] = folder / PICTURE_FILE
    evaluation = known_evaluation(store)
    if evaluation is not None:
        (folder / CONFUSION_FILE).write_text(to_json(evaluation.confusion))
        found[CONFUSION_FILE] = folder / CONFUSION_FILE
    return found


def network_of(job: Job, outcome: Outcome, weights: bytes) -> nn.Module:
    """Return a trial's finished network."""
    network = build_network(job.space, Architecture.parse(outcome.architecture))
    network.load_state_dict(load(weights))
    return network.eval()


def is_trained(store: Storage) -> bool:
    """Return whether a trial has the network that its corrections ask for, so that only its delivery can be missing."""
    try:
        return stored_outcome(store)[0].num_corrections == len(corrections_of(store))
    except RunError:
        return False


def awaits_measurement(job: Job, trial: Trial) -> bool:
    """Return whether a trial has come as far as it can without measuring: it is trained, or searched and not more."""
    store = job.trial_store(trial)
    if is_trained(store):
        return True
    try:
        folder = job.store.child(TRAIN_FOLDER, train_key(trial.key, corrections_of(store)))
    except RunError:
        return False
    return store.exists(SEARCH_FILE) and not any(name.startswith("train-") for name in checkpoints_in(folder))


def stored_outcome(store: Storage) -> tuple[Outcome, bytes]:
    """Return what the ranks of a trial came to, and the weights of its network, checked."""
    outcome: Outcome = read_record(store, OUTCOME_FILE, Outcome)
    return outcome, read_checked(store, WEIGHTS_FILE, outcome.weights)
