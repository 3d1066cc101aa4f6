"""A network that was specialised elsewhere: its file judged, measured and registered as a sweep's networks are.

Why here: it wants the data, the target and the registry, and no search. It must not know Ray: the target is here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from safetensors.torch import load_file
from torch import nn

from latency.graphs.batch import fixed_batch
from latency.graphs.model import file_forms
from latency.graphs.quantise import Quantisation
from latency.measuring.answers import answers
from latency.measuring.measure import Measurement
from latency.target import Target
from orchestrator.data.batches import ImageData, Normalisation
from orchestrator.data.storage import Storage
from orchestrator.plan.addresses import embedded_registry
from orchestrator.plan.confusion import confusion_of
from orchestrator.plan.continued import stored_job
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import known_trials
from orchestrator.plan.trials import (
    ARCHITECTURE_FILE,
    CONFIG_FILE,
    CONFUSION_FILE,
    PREPROCESSING_FILE,
    PROGRAM_FILE,
    WEIGHTS_FILE,
)
from orchestrator.registry.queue import open_registry
from orchestrator.registry.store import Registry
from orchestrator.trial.deliver import tally, top1
from orchestrator.trial.files import delivered_file, kept_precision, makers_of, preprocessing
from orchestrator.trial.records import checksum
from supernet.cost import count_cost
from supernet.errors import InputError
from supernet.network import build_network
from supernet.plain import read, to_json
from supernet.presets import load_network
from supernet.space import architecture_to_json

CHUNK = 500
"""Images that are judged at once."""

IN_TORCH = Target("torch", "torch", batch=50)
"""Where a torch export is judged that is not the delivered file."""


GIVEN = "given"
"""Objective of what no sweep has found."""


@dataclass(frozen=True)
class Given:
    """What a user has of a network, and what it is for.

    Attributes:
        file: `.onnx`, `.pt2`, or an architecture as `.json`.
        weights: Safetensors of the architecture's network; None for a model file.
        target: What it is measured on.
        data_root: Prepared images, with the splits that judge it.
        crop: Whether images are resized and their middle cut out; else they are squeezed to the input size.
        normalisation: That the network was trained with; None for the data set's own.
        trust: Whether to import the module of own operators that an architecture names.
    """

    file: Path
    target: Target
    data_root: str
    weights: Path | None = None
    crop: bool = False
    normalisation: Normalisation | None = None
    trust: bool = False


def judge_and_measure(
    given: Given, folder: Path, *, sweep: str, trial: str, measure: Callable[[Path, Target], Measurement]
) -> tuple[TrialResult, dict[str, Path]]:
    """Return what a network is worth on its target, and its files for the registry, in a folder.

    Args:
        given: The network.
        folder: For the files.
        sweep: Name that it is registered under.
        trial: Its key there.
        measure: Measures a file on a target, such as `latency.measuring.measure.measure_file`.

    Raises:
        InputError: If the file does not fit the target or the data, or is no network.
        NotRunnable: If this machine has not the target.
    """
    if not given.target.measured:
        raise InputError(f"target {given.target.name}: nothing is measured on it; name one that runs networks")
    data, files, counts = _files(given, folder)
    file = files[delivered_file(given.target)]
    answer = partial(answers, file, given.target)
    tallied = tally(answer, data.once("test", CHUNK))
    confusion = confusion_of(data.manifest.origin.source, data.manifest.class_names, tallied.counts)
    files |= _written({CONFUSION_FILE: to_json(confusion).encode()}, folder)
    found = measure(file, given.target)
    plain = {
        "sweep": sweep,
        "trial": trial,
        "target": given.target.name,
        "objective": GIVEN,
        "seed": 0,
        "cost": found.latency_ms,
        "cost_median": found.median_ms,
        "cost_error": found.error_ms,
        "top1": tallied.top1,
        "top5": tallied.top5,
        "num_test_images": data.num_examples("test"),
        "validation_top1": top1(answer, data.once("validation", CHUNK)),
        "num_validation_images": data.num_examples("validation"),
        "torch_top1": _torch_top1(file, files, tallied.top1, data),
        "file": file.name,
        "file_sha256": checksum(file.read_bytes()),
        "file_bytes": file.stat().st_size,
        "data": data.manifest.fingerprint,
        "doubt": f"noisy measurement: {found.noise}" if found.noise else "",
        **counts,
    }
    return read(TrialResult, plain, str(given.file)), files


def _torch_top1(file: Path, files: Mapping[str, Path], found: float, data: ImageData) -> float | None:
    """Return the accuracy of the torch export, where there is one."""
    if PROGRAM_FILE not in files or file.name == PROGRAM_FILE:
        return found if PROGRAM_FILE in files else None
    return top1(partial(answers, files[PROGRAM_FILE], IN_TORCH), data.once("test", CHUNK))


def _files(given: Given, folder: Path) -> tuple[ImageData, dict[str, Path], dict[str, Any]]:
    """Return the images as the network sees them, its files, and what is known of its size."""
    if given.file.suffix == ".json":
        return _made_files(given, folder)
    if given.weights is not None:
        raise InputError(f"{given.file}: a model file has its weights inside; they go with an architecture (.json)")
    name = delivered_file(given.target)
    if given.file.suffix != Path(name).suffix:
        raise InputError(f"{given.file}: target {given.target.name} runs {name}; give a file of that kind")
    forms = file_forms(given.file, given.target.batch)
    if given.file.suffix == ".onnx":
        _check_whole(given.file)
    _check_precision(given, forms.precision, kept_precision(given.target, name))
    data = _images(given, forms.example.shape[1:])
    classes = answers(given.file, given.target, forms.example).shape[1:]
    if classes != (data.num_classes,):
        raise InputError(f"{given.file}: outputs {classes} for an image; the data has {data.num_classes} classes")
    about = json.dumps(preprocessing(given.target, data), indent=1)
    content = given.file.read_bytes()
    if given.file.suffix == ".onnx":
        content = fixed_batch(content, given.target.batch, str(given.file))
    contents = {name: content, PREPROCESSING_FILE: about.encode()}
    return data, _written(contents, folder), {}


def _made_files(given: Given, folder: Path) -> tuple[ImageData, dict[str, Path], dict[str, Any]]:
    """Make all files of an architecture's network, as a sweep makes them."""
    if given.weights is None:
        raise InputError(f"{given.file}: an architecture has no weights; give --weights FILE.safetensors")
    space, architecture = load_network(str(given.file), trust=given.trust)
    network = build_network(space, architecture)
    _load(network, given.weights)
    data = _images(given, space.input_size)
    if space.num_classes != data.num_classes:
        raise InputError(f"{given.file}: a network of {space.num_classes} classes; the data has {data.num_classes}")
    contents = {name: make() for name, make in makers_of(network, given.target, data, Quantisation()).items()}
    contents[ARCHITECTURE_FILE] = architecture_to_json(space, architecture).encode()
    contents[WEIGHTS_FILE] = given.weights.read_bytes()
    known = count_cost(space, architecture)
    counts = {name: known[name] for name in ("num_params", "num_macs")}
    return data, _written(contents, folder), {"architecture": architecture.id} | counts


def _load(network: nn.Module, file: Path) -> None:
    try:
        network.load_state_dict(load_file(file))
    except Exception as error:  # of safetensors, the file system, and torch
        raise InputError(f"{file}: not the weights of this architecture: {str(error).splitlines()[0]}") from error


def _images(given: Given, input_size: tuple[int, ...]) -> ImageData:
    channels, height, width = input_size
    return ImageData(
        given.data_root,
        input_size=(channels, height, width),
        seed=0,
        augment="imagenet" if given.crop else "none",
        normalisation=given.normalisation,
    )


def _check_whole(file: Path) -> None:
    """Refuse an ONNX file whose weights lie in another file: what is registered is one file, to the byte."""
    model = onnx.load(str(file), load_external_data=False)
    beside = {entry.value for w in model.graph.initializer for entry in w.external_data if entry.key == "location"}
    if beside:
        raise InputError(
            f"{file}: its weights are in {', '.join(sorted(beside))}, and one file is registered; export it whole: "
            "torch.onnx.export(..., external_data=False)"
        )


def _check_precision(given: Given, found: str, kept: str) -> None:
    """Refuse a file that the target would run in another precision than whoever loads it."""
    if found != kept:
        raise InputError(
            f"{given.file}: in {found}, and target {given.target.name} runs {given.target.precision}: what is "
            f"registered would not be what was measured; export it in {kept}, name a target of {found}, or give its "
            "architecture and weights"
        )


def _written(contents: Mapping[str, bytes], folder: Path) -> dict[str, Path]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def require_free(registry: Registry, sweep: str, key: str) -> None:
    """Refuse a key under which a sweep registered a network of its own: that would be replaced.

    Raises:
        InputError: If it did.
    """
    taken = [network for network in registry.networks() if network.result.sweep == sweep]
    if any(network.result.trial == key and network.result.objective != GIVEN for network in taken):
        raise InputError(f"key {key!r}: sweep {sweep!r} has registered a trial of that name; use another --key")


def registry_for(name: str, key: str, storage: str, address: str | None) -> tuple[Registry, dict[str, Any]]:
    """Return the registry that a network goes to, with the configuration of the sweep of that name, if it is at hand.

    That is the one at an address, else the registry of a sweep of that name, else the one beside the storage's sweeps.

    Raises:
        InputError: If a sweep of that name has a trial of this key, its folder does not read, or holds another one, or
            the storage wants an address.
    """
    root, config, experiment = Storage(storage), dict[str, Any](), "onepath"
    if root.child(name).exists(CONFIG_FILE):
        job = stored_job(name, storage)
        if key in {trial.key for trial in known_trials(job)}:
            raise InputError(f"key {key!r}: sweep {name!r} has a trial of that name; use another --key")
        config, experiment = dict(job.config), job.run.mlflow.experiment
        if address is None:
            return open_registry(job), config
    if address is None and not root.is_local:
        raise InputError(f"storage {root.uri!r}: SQLite wants a local path; give --registry ADDRESS")
    return Registry(address or embedded_registry(root.uri), experiment), config
