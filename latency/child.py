"""The measuring process: `python -m latency.child FOLDER` reads `job.json` there and writes `result.json`.

It needs no command line of ours. Progress goes to standard output as JSON lines; what libraries print there is
sent to standard error. It ends when its parent no longer reads.
"""

import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray

from latency.checkpoint import Checkpoint
from latency.job import INPUT_ERROR_EXIT, RUN_ERROR_EXIT
from latency.machine import QuietCores, fast_cores, release_affinity
from latency.model import ModelForms, build_chain, file_forms, module_forms
from latency.runtimes.base import Clock, Host, Program
from latency.runtimes.cuda import device_sentinel
from latency.runtimes.registry import entry, load_runtime
from latency.sentinels import PREFIX, SENTINELS, host_sentinel, judge_sentinel, streaming
from latency.target import Target, read_target
from latency.timing import HostClock, Plan, Samples, TimeCalls, sample, summarise
from latency.workers import Prepare, Worker, fork_worker
from supernet.errors import InputError, RunError
from supernet.space import Space, read_space

Report = Callable[[str, float], None]


def main() -> None:
    """Run the job in the folder named on the command line."""
    folder = FilePath(sys.argv[1])
    # Libraries print to file descriptor 1; keep ours apart from it.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        result = run(json.loads((folder / "job.json").read_text()), reporter(channel))
    except InputError as error:
        (folder / "failure.txt").write_text(str(error))
        sys.exit(INPUT_ERROR_EXIT)
    except RunError as error:
        (folder / "failure.txt").write_text(str(error))
        sys.exit(RUN_ERROR_EXIT)
    (folder / "result.json").write_text(json.dumps(result))


def reporter(channel: TextIO) -> Report:
    """Return a function that writes one JSON line per report."""

    def report(text: str, share: float) -> None:
        print(json.dumps({"text": text, "share": round(share, 4)}), file=channel, flush=True)

    return report


def run(job: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Prepare all items, time them in the same rounds, and return what was found."""
    target = read_target(job["target"], "job.target")
    plan = Plan(**job["plan"])
    torch.set_num_threads(1)  # threads do not survive a fork, so none may start here
    start = time.monotonic()
    items, facts = prepare_items(job, target, report)
    prepared = time.monotonic()
    samples = _time(items, job, plan, report)
    sentinels = {key: samples.pop(key) for key in list(samples) if key.startswith(PREFIX)}
    calls = [ok for one in samples.values() for ok in one.clean]
    return {
        "stats": {key: asdict(summarise(one, plan.min_clean)) for key, one in samples.items()},
        "sentinels": {key.removeprefix(PREFIX): asdict(judge_sentinel(one)) for key, one in sentinels.items()},
        "clean_share": sum(calls) / len(calls),
        "num_rounds": 1 + max(one.rounds[-1] for one in samples.values()),
        "parity": {key: one["parity"] for key, one in facts.items() if "parity" in one},
        "prepare_seconds": prepared - start,
        "measure_seconds": time.monotonic() - prepared,
    }


@dataclass(frozen=True)
class TimedItems:
    """What the rounds need: how to time each item, and what to do before a round."""

    time: Mapping[str, TimeCalls]
    before_round: Callable[[int], None]


def prepare_items(
    job: Mapping[str, Any], target: Target, report: Report
) -> tuple[TimedItems, dict[str, dict[str, Any]]]:
    """Make every item runnable: on processors each in a process of its own, elsewhere all in this one.

    Returns:
        The items, and plain facts about each.
    """
    images = np.load(job["images"], allow_pickle=False) if job["images"] else None
    space = None if job["space"] is None else read_space(job["space"], "job.space")
    clock = HostClock()

    def host_of(item: Mapping[str, Any]) -> Host:
        # The memory to stream is allocated here and shared by all workers, which only read it.
        return Host(clock, streaming(item["stream_bytes"]))

    def prepared(item: Mapping[str, Any]) -> tuple[Program, dict[str, Any]]:
        return _prepare(item, _forms(item, space, target, images), target, host_of(item))

    if not target.cpu:
        made = {}
        for index, item in enumerate(job["items"]):
            report("preparing models", index / len(job["items"]))
            made[item["key"]] = prepared(item)
        if target.device.startswith("cuda"):
            made |= {PREFIX + name: (device_sentinel(name, target), {}) for name in SENTINELS}
        times = {key: program.time for key, (program, _) in made.items()}
        return TimedItems(times, lambda index: None), {key: facts for key, (_, facts) in made.items()}
    for name in entry(target.runtime).imports:
        importlib.import_module(name)

    def prepares() -> Iterator[tuple[str, Prepare]]:
        # Graphs are made here, where the code is warm; each worker only makes its own runnable.
        for item in job["items"]:
            yield item["key"], partial(_prepare, item, _forms(item, space, target, images), target, host_of(item))
        for name in SENTINELS:
            yield PREFIX + name, partial(_sentinel, name, clock)

    return _fork(prepares(), len(job["items"]), target, report)


def _fork(
    prepares: Iterator[tuple[str, Prepare]], num_items: int, target: Target, report: Report
) -> tuple[TimedItems, dict[str, dict[str, Any]]]:
    release_affinity()
    cores = QuietCores(list(target.options.get("cores", fast_cores())), target.threads)
    time.sleep(0.1)  # lets the counters show who is busy
    workers: dict[str, Worker] = {}
    facts: dict[str, dict[str, Any]] = {}
    for index, (key, make) in enumerate(prepares):
        report("preparing models", min(1.0, index / num_items))
        workers[key] = fork_worker(key, make, list(workers.values()))
        facts[key] = workers[key].ready()
    times: dict[str, TimeCalls] = {
        key: (lambda num_calls, worker=worker: worker.time(num_calls, sorted(cores.own)))  # type: ignore[misc]
        for key, worker in workers.items()
    }
    return TimedItems(times, lambda index: cores.move(sum(w.cpu_seconds for w in workers.values()))), facts


def _prepare(item: Mapping[str, Any], forms: ModelForms, target: Target, host: Host) -> tuple[Program, dict[str, Any]]:
    torch.set_num_threads(target.threads)
    wanted = _module_output(forms) if item["check"] else None
    program = load_runtime(target.runtime).prepare(forms, target, host)
    if wanted is None or program.output is None:
        return program, {}
    difference = np.abs(program.output() - wanted).max()
    return program, {"parity": float(difference / np.abs(wanted).max())}


def _sentinel(name: str, clock: Clock) -> tuple[Program, dict[str, Any]]:
    return host_sentinel(name, Host(clock)), {}


def _time(items: TimedItems, job: Mapping[str, Any], plan: Plan, report: Report) -> dict[str, Samples]:
    visits = {item["key"]: int(item["visits"]) for item in job["items"]}
    often = max(1, sum(visits.values()) // 10)
    visits |= {key: often for key in items.time if key.startswith(PREFIX)}
    checkpoint = Checkpoint.of(job)
    known = {key: one for key, one in checkpoint.load().items() if key in items.time}
    first_round = 1 + max((one.rounds[-1] for one in known.values()), default=-1)

    def after_round(index: int, seconds: float, samples: dict[str, Samples]) -> None:
        report("measuring", min(1.0, seconds / plan.seconds))
        checkpoint.save(samples, seconds)

    return sample(
        items.time,
        plan,
        HostClock(),
        random.Random(job["seed"] + first_round),
        weights=visits,
        known=known,
        first_round=first_round,
        before_round=items.before_round,
        after_round=after_round,
    )


def _forms(item: Mapping[str, Any], space: Space | None, target: Target, images: Any) -> ModelForms:
    forms = _lazy_forms(item, space, target, images)
    if not entry(target.runtime).takes_onnx:
        return forms
    serialised = forms.onnx()
    return replace(forms, make_onnx=lambda: serialised)


def _lazy_forms(item: Mapping[str, Any], space: Space | None, target: Target, images: Any) -> ModelForms:
    if item["file"]:
        return file_forms(FilePath(item["file"]), target.batch, images)
    assert space is not None
    choices = [(layer, candidate) for layer, candidate in item["choices"]]
    module = build_chain(space, choices)
    if item["weights"]:
        from safetensors.torch import load_file

        module.load_state_dict(load_file(item["weights"]))
    shape = (target.batch, *item["input_shape"])
    own = images if images is not None and images.shape[1:] == shape[1:] else None
    return module_forms(module, shape, own)


def _module_output(forms: ModelForms) -> NDArray[np.float32]:
    """Run the module on the example in fp32, before a runtime may convert it."""
    with torch.inference_mode():
        wanted: NDArray[np.float32] = forms.module()(torch.from_numpy(forms.example)).numpy()
    return wanted


if __name__ == "__main__":
    main()
