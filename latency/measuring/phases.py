"""Makes the items of a job ready to be timed: on processors each in a fresh process, elsewhere all in this one.

Why fresh in every phase: where a process happens to lie in memory moves short networks by up to 10 %, the same way in
all its calls. Over several processes that averages out, and their spread says how well it is known.
"""

import importlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from latency.graphs.export import exported
from latency.graphs.model import ModelForms, file_forms, module_forms, program_forms, require_precision
from latency.measuring.job import Item, Job
from latency.measuring.machine import QuietCores, fast_cores, release_affinity, watched_threads
from latency.measuring.sentinels import PREFIX, SENTINELS, host_sentinel, streaming
from latency.measuring.timing import HostClock, TimeCalls
from latency.measuring.workers import Worker, fork_worker
from latency.runtimes.base import Host, Program, load_kernels, load_runtime, not_watched
from latency.target import Target
from supernet.network import build_blocks
from supernet.space import Space

Report = Callable[[str, float], None]


@dataclass
class Phases:
    """Opens the phases of one job.

    Attributes:
        target: On what is measured.
        items: The job's items by key.
        space: The space of the items' layers, if any.
        images: To calibrate quantisation with, or None.
        folder: Where quantised graphs are kept from phase to phase.
        report: Called with what is being done.
        parity: Found so far: per checked item, the difference from the outputs of its module in fp32.
        prepare_seconds: Spent so far on making items ready.
        graphs: Made so far, per item: each is opened several times.
        programs: Files loaded and networks exported so far, per item.
    """

    target: Target
    items: Mapping[str, Item]
    space: Space | None
    images: NDArray[np.float32] | None
    folder: FilePath
    report: Report
    parity: dict[str, float] = field(default_factory=dict)
    prepare_seconds: float = 0.0
    graphs: dict[str, bytes] = field(default_factory=dict)
    programs: dict[str, ModelForms] = field(default_factory=dict)

    @classmethod
    def of(cls, job: Job, folder: FilePath, report: Report) -> "Phases":
        """Return the phases of a job."""
        return cls(
            target=job.target,
            items={item.key: item for item in job.items},
            space=job.space,
            images=np.load(job.images, allow_pickle=False) if job.images else None,
            folder=folder,
            report=report,
        )

    def forms(self, item: Item) -> ModelForms:
        """Return the forms of an item; the graph is made at once if the runtime takes it."""
        forms = replace(self._forms(item), quantisation=item.int8)
        if not self.target.traits.takes_onnx:
            return forms
        if item.key not in self.graphs:
            self.graphs[item.key] = forms.onnx()
        return replace(forms, make_onnx=lambda: self.graphs[item.key], cache=self.folder)

    def prepare(self, item: Item, forms: ModelForms, host: Host) -> tuple[Program, dict[str, Any]]:
        """Make one item runnable, and compare its outputs with those of its module in fp32 if asked."""
        torch.set_num_threads(self.target.threads)
        program = load_runtime(self.target.runtime).prepare(forms, self.target, host)
        if not item.check or program.output is None:
            return program, {}
        with torch.inference_mode():
            wanted = self._module(item)(torch.from_numpy(forms.example)).numpy()
        difference = np.abs(program.output(forms.example) - wanted).max()
        return program, {"parity": float(difference / np.abs(wanted).max())}

    def _forms(self, item: Item) -> ModelForms:
        if item.file or (item.whole and not self.target.traits.takes_onnx):
            if item.key not in self.programs:
                self.programs[item.key] = self._program(item)
            return self.programs[item.key]
        shape = (self.target.batch, *item.input_shape)
        fits = self.images is not None and self.images.shape[1:] == shape[1:]
        return module_forms(self._module(item), shape, self.images if fits else None)

    def _program(self, item: Item) -> ModelForms:
        batch, images = self.target.batch, self.images
        if item.file:
            forms = file_forms(FilePath(item.file), batch, images)
            if forms.precision != item.precision:
                require_precision(forms, self.target, item.file)
            return forms
        return program_forms(
            exported(self._module(item), item.input_shape, self.target.precision), item.key, batch, images
        )

    def _module(self, item: Item) -> nn.Module:
        assert self.space is not None
        module = build_blocks(self.space, item.choices, seed=0).eval()
        if item.weights:
            from safetensors.torch import load_file

            module.load_state_dict(load_file(item.weights))
        return module


class ForkedPhases:
    """On processors: a worker for each item, new in every phase; the reference kernels stay the same throughout."""

    sentinels: Sequence[str] = SENTINELS

    def __init__(self, phases: Phases) -> None:
        self.phases = phases
        for name in phases.target.traits.imports:
            importlib.import_module(name)
        release_affinity()
        self.cores = QuietCores(phases.target.settings.cores or fast_cores(), phases.target.threads)
        time.sleep(0.1)  # lets the counters show who is busy
        self.past_cpu_seconds = 0.0
        self.workers: dict[str, Worker] = {}
        host = Host(HostClock())
        for name in SENTINELS:
            self._fork(PREFIX + name, partial(_sentinel, name, host)).ready()

    @contextmanager
    def open(self) -> Iterator[dict[str, TimeCalls]]:
        """Fork workers for the items; end them afterwards."""
        phases, start = self.phases, time.monotonic()
        unready: deque[str] = deque()
        watch = watched_threads if phases.target.threads > 1 else not_watched
        at_once = max(1, len(self.cores.cores) // phases.target.threads)
        for index, (key, item) in enumerate(phases.items.items()):
            phases.report("preparing models", index / len(phases.items))
            # Graphs, and the memory to stream, are made here, once; each worker only makes its own runnable.
            host = Host(HostClock(), streaming(item.stream_bytes), watch)
            self._fork(key, partial(phases.prepare, item, phases.forms(item), host))
            unready.append(key)
            if len(unready) == at_once:
                self._wait_for(unready.popleft())
        for key in unready:
            self._wait_for(key)
        phases.prepare_seconds += time.monotonic() - start
        try:
            yield {key: partial(self._time, key) for key in self.workers}
        finally:
            for key in phases.items:
                worker = self.workers.pop(key)
                self.past_cpu_seconds += worker.cpu_seconds
                worker.close()

    def before_round(self) -> None:
        """Move to the quietest cores."""
        self.cores.move(self.past_cpu_seconds + sum(worker.cpu_seconds for worker in self.workers.values()))

    def _fork(self, key: str, prepare: Callable[[], tuple[Program, dict[str, Any]]]) -> Worker:
        self.workers[key] = fork_worker(key, prepare, list(self.workers.values()))
        return self.workers[key]

    def _wait_for(self, key: str) -> None:
        facts = self.workers[key].ready()
        self.phases.parity |= {key: facts["parity"]} if "parity" in facts else {}

    def _time(self, key: str, num_calls: int) -> Any:
        return self.workers[key].time(num_calls, sorted(self.cores.own))


class SharedPhases:
    """Elsewhere: everything is prepared once, in this process; phases are stretches of time."""

    def __init__(self, phases: Phases) -> None:
        self.phases = phases
        target = phases.target
        self.sentinels: Sequence[str] = SENTINELS if target.traits.kernels else ()
        self.programs = {
            PREFIX + name: load_kernels(target.runtime).reference_kernel(name, target) for name in self.sentinels
        }

    @contextmanager
    def open(self) -> Iterator[dict[str, TimeCalls]]:
        """Prepare what is not prepared yet."""
        phases, start = self.phases, time.monotonic()
        for index, (key, item) in enumerate(phases.items.items()):
            if key not in self.programs:
                phases.report("preparing models", index / len(phases.items))
                program, facts = phases.prepare(item, phases.forms(item), Host(HostClock()))
                self.programs[key] = program
                phases.parity |= {key: facts["parity"]} if "parity" in facts else {}
        phases.prepare_seconds += time.monotonic() - start
        yield {key: program.time for key, program in self.programs.items()}

    def before_round(self) -> None:
        """Nothing is to be done."""


def _sentinel(name: str, host: Host) -> tuple[Program, dict[str, Any]]:
    return host_sentinel(name, host), {}
