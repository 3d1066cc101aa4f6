"""The files of a trial's network: made once, judged and measured as they are, kept with their checksums.

Why here: whatever number stands beside a network is of the very file that is delivered. It must not know how the
network was found, nor MLflow.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latency.graphs.archive import load_program
from latency.graphs.export import export_parity
from latency.measuring.measure import Measurement
from latency.target import Target
from orchestrator.data.batches import ImageData
from orchestrator.data.storage import Storage
from orchestrator.plan.confusion import confusion_of
from orchestrator.plan.news import News
from orchestrator.plan.trials import (
    EVALUATION_FILE,
    MEASUREMENT_FILE,
    ONNX_FILE,
    PROGRAM_FILE,
    Job,
    Trial,
)
from orchestrator.trial.costs import NetworkCost, Timing
from orchestrator.trial.files import delivered_file, kept_precision, make_files
from orchestrator.trial.gate import Difference
from orchestrator.trial.place import Post
from orchestrator.trial.records import (
    Evaluation,
    checksum,
    known_evaluation,
    read_beside,
    read_record,
    write_record,
)
from orchestrator.trial.stages import open_data

Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]

CHUNK_BYTES = 64 * 2**20
"""Of images that travel to a device at once."""


@dataclass(frozen=True)
class Bench:
    """Where a trial's target is: runs a model file, given by name and content.

    Attributes:
        measure: Times it, beside networks of the table that take about so many milliseconds.
        ask: Gives its answers for images, shape (M, num_classes).
    """

    measure: Callable[[str, bytes, float], Measurement]
    ask: Callable[[str, bytes, NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Delivered:
    """A trial's files with everything that is said of them.

    Attributes:
        file: Name of the delivered one.
        num_bytes: Its size.
        evaluation: How accurate it is, and the torch export beside it.
        cost: What it takes on its target.
        data: Fingerprint of the images.
    """

    file: str
    num_bytes: int
    evaluation: Evaluation
    cost: NetworkCost
    data: str


def deliver(
    job: Job,
    trial: Trial,
    network: Callable[[], nn.Module],
    counted: float,
    bench: Bench,
    post: Post,
    num_measurements: int = 1,
) -> Delivered:
    """Make the network's files, and judge and measure the delivered one; what is known of the same file is kept.

    Args:
        job: The sweep.
        trial: One of it.
        network: Makes the network, where its files are not there yet.
        counted: What the table says of the network: about what it takes, its cost on a target that measures nothing.
        bench: Where the target is.
        post: Takes the news.
        num_measurements: How often the file is to be measured in all; what is counted is counted once.

    Raises:
        DamagedFile: If the record of the measurement is damaged: it cannot be made again exactly.
        RunError: If the file cannot be judged or measured.
    """
    make_files(job, trial, network, post)
    store, target = job.trial_store(trial), job.target(trial.target)
    file = delivered_file(target)
    content, program = read_beside(store, file), read_beside(store, PROGRAM_FILE)
    evaluation = known_evaluation(store)
    if evaluation is None or (evaluation.file_sha256, evaluation.program_sha256) != (
        checksum(content),
        checksum(program),
    ):
        post(News(trial.key, "evaluate"))
        evaluation = _evaluate(job, trial, file, content, program, bench)
        write_record(store, EVALUATION_FILE, evaluation)
    timing = Timing(checksum(content), ())
    if store.exists(MEASUREMENT_FILE):
        known = read_record(store, MEASUREMENT_FILE, Timing)
        timing = known if known.file_sha256 == timing.file_sha256 else timing
    while len(timing.costs) < (num_measurements if target.measured else 1):
        measured = bench.measure(file, content, counted) if target.measured else None
        cost = NetworkCost.measured(measured) if measured else NetworkCost.counted(counted)
        timing = replace(timing, costs=(*timing.costs, cost))
        write_record(store, MEASUREMENT_FILE, timing)
    return Delivered(file, len(content), evaluation, timing.cost, open_data(job).manifest.fingerprint)


def _evaluate(job: Job, trial: Trial, file: str, content: bytes, program: bytes, bench: Bench) -> Evaluation:
    data, target = open_data(job), job.target(trial.target)
    with tempfile.TemporaryDirectory(prefix="onepath-program-") as folder:
        path = Path(folder) / PROGRAM_FILE
        path.write_bytes(program)
        module = load_program(path).module()

    def of_program(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = module(torch.from_numpy(images)).numpy()
            return found

    def of_file(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return bench.ask(file, content, images)

    answer = of_file if target.measured else of_program
    chunk = images_at_once(data) if target.measured else 64
    found = tally(answer, data.once("test", chunk))
    return Evaluation(
        file_sha256=checksum(content),
        program_sha256=checksum(program),
        top1=found.top1,
        top5=found.top5,
        validation_top1=top1(answer, data.once("validation", chunk)),
        torch_top1=found.top1 if file == PROGRAM_FILE else top1(of_program, data.once("test", 64)),
        confusion=confusion_of(data.manifest.origin.source, data.manifest.class_names, found.counts),
    )


def images_at_once(data: ImageData) -> int:
    """Return how many images travel to a device at once."""
    return max(1, CHUNK_BYTES // (4 * int(np.prod(data.input_size))))


def differences(
    store: Storage, target: Target, network: nn.Module, input_size: tuple[int, int, int]
) -> dict[str, Difference]:
    """Return how far a network's files are from what it computes in fp32, by name; int8 is judged by its accuracy."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="onepath-parity-") as folder:
        for name in (ONNX_FILE, PROGRAM_FILE):
            precision = kept_precision(target, name)
            if precision != "int8":
                share = export_parity(network, store.fetch(name, Path(folder)), input_size)
                found[name] = Difference(precision, share)
    return found


@dataclass(frozen=True)
class Tally:
    """Images, counted by what a network says of them.

    Attributes:
        counts: By their label and the class of their highest output.
        top1: Share whose highest output is their label, 0..1.
        top5: Share whose label is among their five highest outputs; None with five classes or fewer, where all are.
    """

    counts: Mapping[tuple[int, int], int]
    top1: float
    top5: float | None


def tally(answer: Answer, batches: Iterable[tuple[Tensor, Tensor]]) -> Tally:
    """Count images by what a network says of them; of equal outputs the lower class counts as the higher one."""
    counts: Counter[tuple[int, int]] = Counter()
    in_five = num_classes = 0
    for images, labels in batches:
        outputs = answer(images.numpy())
        num_classes = outputs.shape[1]
        five = (-outputs).argsort(1, kind="stable")[:, :5]
        counts.update(zip(labels.tolist(), five[:, 0].tolist(), strict=True))
        in_five += int((five == labels.numpy()[:, None]).sum())
    total = max(sum(counts.values()), 1)
    right = sum(number for (label, first), number in counts.items() if label == first)
    return Tally(counts, right / total, in_five / total if num_classes > 5 else None)


def top1(answer: Answer, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the share of images whose highest output is their label."""
    return tally(answer, batches).top1
