"""The measuring process: `python -m latency.measuring.child IMPORT ...` reads folders of jobs from standard input and
forks itself for each; the fork reads `job.json` there and writes `result.json`.

It needs no command line of ours. Progress goes to standard output as JSON lines; what libraries print there is
sent to standard error. It ends when its parent no longer reads or writes.
"""

import importlib
import json
import math
import os
import random
import statistics
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import NoReturn, TextIO

import torch

from latency.measuring.checkpoint import Checkpoint
from latency.measuring.job import Job, JobResult
from latency.measuring.machine import measuring_lock
from latency.measuring.phases import ForkedPhases, Phases, Report, SharedPhases
from latency.measuring.process import ERRORS_FILE, FAILURE_FILE, JOB_FILE, RESULT_FILE, WAITING
from latency.measuring.sentinels import PREFIX, SentinelStats, judge_sentinel
from latency.measuring.summary import Summary, summarise
from latency.measuring.timing import HostClock, Samples, sample
from supernet.errors import InputError, RunError, error_to_plain
from supernet.plain import read_json, to_json


def main() -> None:
    """Run the jobs whose folders are named on standard input."""
    # Libraries print to file descriptor 1; keep ours apart from it.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)  # threads do not survive a fork, so none may start here
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _work(FilePath(line.strip()), channel)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"status": status}), file=channel, flush=True)


def _work(folder: FilePath, channel: TextIO) -> NoReturn:
    """Run the job in a folder; never return into the forked copy of the parent."""
    errors, status = os.open(folder / ERRORS_FILE, os.O_WRONLY | os.O_CREAT), 1
    for number in (1, 2):
        os.dup2(errors, number)
    try:
        job: Job = read_json(Job, (folder / JOB_FILE).read_text(), JOB_FILE)
        report = reporter(channel)
        with measuring_lock(job.target.device, lambda: report(WAITING, 0.0)):  # whoever asked may die before this does
            result = run(job, folder, report)
        (folder / RESULT_FILE).write_text(to_json(result))
        status = 0
    except (InputError, RunError) as error:
        (folder / FAILURE_FILE).write_text(json.dumps(error_to_plain(error)))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def reporter(channel: TextIO) -> Report:
    """Return a function that writes one JSON line per report."""

    def report(text: str, share: float) -> None:
        print(json.dumps({"text": text, "share": round(share, 4)}), file=channel, flush=True)

    return report


def run(job: Job, folder: FilePath, report: Report) -> JobResult:
    """Time all items of a job, and return what was found."""
    start, plan = time.monotonic(), job.plan
    phases = Phases.of(job, FilePath(job.work_folder or folder), report)
    opener = ForkedPhases(phases) if job.target.traits.own_process else SharedPhases(phases)
    sentinels = [PREFIX + name for name in opener.sentinels]
    weights = {item.key: item.visits for item in job.items}
    weights |= dict.fromkeys(sentinels, max(1, sum(weights.values()) // 10))
    checkpoint = Checkpoint.of(job)
    known, known_unlike = checkpoint.load()
    num_rounds = 0

    networks = [key for key, item in phases.items.items() if item.is_network]

    def of_items(samples: Mapping[str, Samples]) -> dict[str, Samples]:
        return {key: samples[key] for key in phases.items}

    def after_round(seconds: float, samples: Mapping[str, Samples]) -> None:
        nonlocal num_rounds
        num_rounds += 1
        report("measuring", min(1.0, seconds / plan.seconds))
        if checkpoint.is_due(seconds):
            checkpoint.save(of_items(samples), left_out(samples), seconds)

    def kernels(samples: Mapping[str, Samples]) -> dict[str, SentinelStats]:
        return {key.removeprefix(PREFIX): judge_sentinel(samples[key]) for key in sentinels}

    def left_out(samples: Mapping[str, Samples]) -> frozenset[int]:
        return known_unlike.union(*(kernel.unlike for kernel in kernels(samples).values()))

    def judged(samples: Mapping[str, Samples]) -> Summary:
        unlike = left_out(samples)
        found = summarise(of_items(samples), networks, unlike)
        return replace(found, unlike=found.unlike | unlike)

    def settled(samples: Mapping[str, Samples]) -> bool:
        errors = [stats.relative_error for stats in judged(samples).stats.values()]
        return math.sqrt(statistics.fmean(error**2 for error in errors)) <= plan.tolerance

    samples = sample(
        opener.open,
        plan,
        HostClock(),
        random.Random(job.seed),
        settled=settled,
        weights=weights,
        known=known,
        before_round=opener.before_round,
        after_round=after_round,
    )
    calls = [ok for key in phases.items for ok in samples[key].clean]
    summary = judged(samples)
    return JobResult(
        stats=summary.stats,
        sentinels=kernels(samples),
        clean_share=sum(calls) / len(calls),
        moved=summary.moved,
        num_rounds=num_rounds,
        num_phases=summary.num_phases,
        num_unlike=len(summary.unlike),
        parity=phases.parity,
        prepare_seconds=phases.prepare_seconds,
        measure_seconds=time.monotonic() - start - phases.prepare_seconds,
    )


if __name__ == "__main__":
    main()
