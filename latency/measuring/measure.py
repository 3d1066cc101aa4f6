"""Measures whole networks or model files on a target, in a fresh process.

The same answer from a shell, a notebook or a Ray worker: the process sets its own threads, allocator and cores.
"""

import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latency.graphs.quantise import DEFAULT, Quantisation
from latency.measuring.job import Item, Job, JobResult, Progress, noise_reason, plan_for
from latency.measuring.process import run_job
from latency.measuring.summary import MAX_MOVED
from latency.target import Target
from supernet.errors import InputError
from supernet.space import Architecture, Space

MAX_ERROR = 0.05
"""Relative error of a figure beyond which it is noise: as much as a table may have, see `latency.tables.build`."""

VISIT_MS = 10.0
"""A visit to a whole network: longer than one to the short chains of a table, for fewer things wait for their turn."""

SURE = 2.0
"""Standard errors beyond which a figure is taken to differ."""
REFERENCE = "reference "


@dataclass(frozen=True)
class References:
    """Networks whose times are known: timed beside another, they tell the machine's mood from that one's own time.

    Attributes:
        space: Theirs.
        known_ms: What each of them took, by the id of its architecture.
    """

    space: Space
    known_ms: Mapping[str, float]

    def items(self) -> list[Item]:
        """Return what a job times for them."""
        found = []
        for name in self.known_ms:
            choices = self.space.kept(self.space.path(Architecture.parse(name)))
            found.append(Item(REFERENCE + name, choices=choices, input_shape=self.space.input_size, whole=True))
        return found

    def machine(self, result: JobResult) -> tuple[float, float]:
        """Return how many times as long as known they took, in the median, and its standard error."""
        logs = [math.log(result.stats[REFERENCE + name].latency_ms / ms) for name, ms in self.known_ms.items()]
        factor = math.exp(statistics.median(logs))
        return factor, factor * statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else 0.0


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        latency_ms: What the hardware needs, see `summary.Stats`.
        error_ms: Standard error of it, see there; None if too few phases were undisturbed.
        median_ms: Median of all calls: what is typical at the moment.
        num_samples: Timed calls.
        parity: Largest difference from the module's outputs in fp32, relative to the largest; None for a file, and
            for an external program, which gives times only.
        noise: Why the machine was too disturbed for the figures to be believed, or empty.
        machine: How many times as long as known the references took in the same rounds; 1 without any.
        machine_error: Standard error of it, from what they differ by.
    """

    latency_ms: float
    error_ms: float | None
    median_ms: float
    num_samples: int
    parity: float | None
    noise: str
    machine: float = 1.0
    machine_error: float = 0.0

    @property
    def as_known(self) -> Self:
        """What it is on a machine that is as fast as it was when the references were measured: free of what moves all
        networks alike, though not of `noise`.
        """
        error, of_machine = self.error_ms, self.machine_error / self.machine
        return replace(
            self,
            latency_ms=self.latency_ms / self.machine,
            error_ms=None if error is None else math.hypot(error, self.latency_ms * of_machine) / self.machine,
            median_ms=self.median_ms / self.machine,
            machine=1.0,
            machine_error=0.0,
        )

    @property
    def surely_within_ms(self) -> float:
        """What it takes at most: a limit kept by this is kept when measured again; none is where no error is known."""
        return math.inf if self.error_ms is None else self.latency_ms + SURE * self.error_ms

    @property
    def slowed(self) -> bool:
        """Whether the machine is so much slower than then that this is hardly so for all networks alike."""
        return self.machine > 1 + MAX_MOVED

    @property
    def moved(self) -> str:
        """By how much the machine is slower or faster than then, if that is hardly so for all networks alike."""
        if abs(math.log(self.machine)) <= math.log1p(MAX_MOVED):
            return ""
        by = f"{self.machine - 1:.0%} slower" if self.machine > 1 else f"{1 - self.machine:.0%} faster"
        return f"networks of the latency table are {by} than when it was measured"


def measure_network(
    space: Space,
    architecture: Architecture,
    target: Target,
    *,
    weights: Mapping[str, Tensor] | None = None,
    images: NDArray[np.float32] | None = None,
    int8: Quantisation = DEFAULT,
    seconds: float = 3.0,
    references: References | None = None,
    progress: Progress = lambda text, share: None,
    run: Callable[[Job, Progress], JobResult] = run_job,
) -> Measurement:
    """Measure the standalone network of an architecture.

    Args:
        space: Its space.
        architecture: What to measure.
        target: On what.
        weights: `state_dict` of `build_network`; random ones if None (latency does not depend on them, int8
            outputs do).
        images: To calibrate int8 quantisation with, float32, shape (M, C, H, W), normalised as in training.
        int8: How it becomes int8 on targets of that precision; references do so as in tables.
        seconds: Measuring time wanted; up to three times as much is spent in all if phases do not agree, and with
            references twice as much.
        references: Of the same space, to be timed in the same rounds.
        progress: Called with what is being done and its share done.
        run: Runs the job; a `MeasuringProcess` of the target that is kept saves the start of one.

    Raises:
        NotRunnable: If this machine cannot run the target.
        RunError: If the measuring process fails.
    """
    with tempfile.TemporaryDirectory(prefix="onepath-model-") as name:
        file = ""
        if weights is not None:
            from safetensors.torch import save_file

            file = str(FilePath(name) / "weights.safetensors")
            save_file({key: value.detach().cpu().contiguous() for key, value in weights.items()}, file)
        choices = space.kept(space.path(architecture))
        shape = space.input_size
        item = Item("model", choices=choices, input_shape=shape, weights=file, whole=True, check=True, int8=int8)
        return _measure([item], space, target, images, FilePath(name), seconds, references, progress, run)["model"]


def measure_file(
    file: FilePath | str,
    target: Target,
    *,
    images: NDArray[np.float32] | None = None,
    seconds: float = 3.0,
    references: References | None = None,
    progress: Progress = lambda text, share: None,
    run: Callable[[Job, Progress], JobResult] = run_job,
) -> Measurement:
    """Measure a model file: `.onnx` (runtimes that take ONNX) or `.pt2` (torch runtimes, and these too).

    Args: as `measure_network`.

    Raises:
        InputError: If the file is neither, or the target cannot run it, or not in its precision.
        NotRunnable: If this machine cannot run the target.
        RunError: If the measuring process fails.
    """
    files = {"model": file}
    return measure_files(
        files, target, images=images, seconds=seconds, references=references, progress=progress, run=run
    )["model"]


def measure_files(
    files: Mapping[str, FilePath | str],
    target: Target,
    *,
    images: NDArray[np.float32] | None = None,
    seconds: float = 3.0,
    references: References | None = None,
    progress: Progress = lambda text, share: None,
    run: Callable[[Job, Progress], JobResult] = run_job,
) -> dict[str, Measurement]:
    """Measure model files in the same interleaved rounds: what the machine does meanwhile leaves their ratios alone.

    Args: as `measure_network`, but for
        files: By a key of each.
        seconds: Measuring time wanted for each.

    Raises: as `measure_file`.
    """
    for file in files.values():
        if not FilePath(file).is_file():
            raise InputError(f"{file}: no such file")
    items = [Item(key, file=str(FilePath(file).resolve())) for key, file in files.items()]
    with tempfile.TemporaryDirectory(prefix="onepath-model-") as name:
        seconds *= len(items)
        return _measure(items, None, target, images, FilePath(name), seconds, references, progress, run)


def _measure(
    items: Sequence[Item],
    space: Space | None,
    target: Target,
    images: NDArray[np.float32] | None,
    folder: FilePath,
    seconds: float,
    references: References | None,
    progress: Progress,
    run: Callable[[Job, Progress], JobResult],
) -> dict[str, Measurement]:
    if not target.measured:
        raise InputError(f"target {target.name}: its costs are counted or published; there is nothing to measure")
    if images is not None:
        np.save(folder / "images.npy", images, allow_pickle=False)
    timed, saved = list(items), str(folder / "images.npy") if images is not None else ""
    if references:
        timed, space, seconds = [*items, *references.items()], references.space, 2 * seconds
    result = run(Job(target, tuple(timed), space, plan_for(target, seconds, visit_ms=VISIT_MS), images=saved), progress)
    machine, error = references.machine(result) if references else (1.0, 0.0)
    return {item.key: _measurement(result, item.key, machine, error) for item in items}


def _measurement(result: JobResult, key: str, machine: float, machine_error: float) -> Measurement:
    stats = result.stats[key]
    return Measurement(
        latency_ms=stats.latency_ms,
        error_ms=stats.error_ms if math.isfinite(stats.error_ms) else None,
        median_ms=stats.median_ms,
        num_samples=stats.num_samples,
        parity=result.parity.get(key),
        noise=noise_reason(result, [key], MAX_ERROR),
        machine=machine,
        machine_error=machine_error,
    )
