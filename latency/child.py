"""The measuring process: `python -m latency.child FOLDER` reads `job.json` there and writes `result.json`.

It needs no command line of ours. Progress goes to standard output as JSON lines; what libraries print there is
sent to standard error. It ends when its parent no longer reads.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray

from latency.checkpoint import Checkpoint
from latency.job import INPUT_ERROR_EXIT, RUN_ERROR_EXIT
from latency.machine import QuietCores, fast_cores, release_affinity
from latency.model import ModelForms, build_chain, file_forms, module_forms
from latency.runtimes.base import Program
from latency.runtimes.registry import load_runtime
from latency.sentinels import PREFIX, host_sentinels, judge_sentinel
from latency.target import Target, read_target
from latency.timing import HostClock, Plan, Samples, sample, summarise
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
    space = None if job["space"] is None else read_space(job["space"], "job.space")
    torch.set_num_threads(target.threads)
    release_affinity()
    cores = QuietCores(list(target.options.get("cores", fast_cores())) if target.cpu else [], target.threads)
    cores.move()
    time.sleep(0.1)  # lets the counters show who is busy
    cores.move()
    clock = HostClock()
    start = time.monotonic()
    images = np.load(job["images"], allow_pickle=False) if job["images"] else None
    programs: dict[str, Program] = {}
    parity: dict[str, float] = {}
    for index, item in enumerate(job["items"]):
        report("preparing models", index / len(job["items"]))
        forms = _forms(item, space, target, images)
        wanted = _module_output(forms) if item["check"] else None
        programs[item["key"]] = load_runtime(target.runtime).prepare(forms, target, clock)
        if wanted is not None:
            difference = np.abs(programs[item["key"]].output() - wanted).max()
            parity[item["key"]] = float(difference / np.abs(wanted).max())
    prepared = time.monotonic()
    samples = _time(programs, job, target, plan, cores, report)
    sentinels = {key: samples.pop(key) for key in list(samples) if key.startswith(PREFIX)}
    calls = [ok for one in samples.values() for ok in one.clean]
    return {
        "stats": {key: asdict(summarise(one, plan.min_clean)) for key, one in samples.items()},
        "sentinels": {key.removeprefix(PREFIX): asdict(judge_sentinel(one)) for key, one in sentinels.items()},
        "clean_share": sum(calls) / len(calls),
        "num_rounds": 1 + max(one.rounds[-1] for one in samples.values()),
        "parity": parity,
        "prepare_seconds": prepared - start,
        "measure_seconds": time.monotonic() - prepared,
    }


def _time(
    programs: Mapping[str, Program],
    job: Mapping[str, Any],
    target: Target,
    plan: Plan,
    cores: QuietCores,
    report: Report,
) -> dict[str, Samples]:
    clock = HostClock()
    visits = {item["key"]: int(item["visits"]) for item in job["items"]}
    sentinels = host_sentinels(target, clock) if target.cpu else {}
    visits |= dict.fromkeys(sentinels, max(1, sum(visits.values()) // 10))
    everything = {key: program.time for key, program in {**programs, **sentinels}.items()}
    checkpoint = Checkpoint.of(job)
    known = {key: one for key, one in checkpoint.load().items() if key in everything}
    first_round = 1 + max((one.rounds[-1] for one in known.values()), default=-1)

    def after_round(index: int, seconds: float, samples: dict[str, Samples]) -> None:
        report("measuring", min(1.0, seconds / plan.seconds))
        checkpoint.save(samples, seconds)

    return sample(
        everything,
        plan,
        clock,
        random.Random(job["seed"] + first_round),
        weights=visits,
        known=known,
        first_round=first_round,
        before_round=lambda index: cores.move(),
        after_round=after_round,
    )


def _forms(item: Mapping[str, Any], space: Space | None, target: Target, images: Any) -> ModelForms:
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
