"""How long each phase of what is left of a sweep takes, from the speed of a weight step, as plain arithmetic.

Why here: the forecast shows it, and the ledger holds it against what the phases took, by the same names. It must not
know how a speed is measured.
"""

import math
import os
from typing import Any

from latency.target import Target
from orchestrator.plan.config import RunConfig
from orchestrator.plan.images import prepared_images
from orchestrator.plan.inherited import still_inherited
from orchestrator.plan.left import Left
from supernet.estimators import EstimatorName
from supernet.judging import NUM_SHARED
from supernet.training import MAX_AT_ONCE

# Seconds around a sweep, a training job with ranks or in the trial's own process, a table, and a measurement: process
# starts, making models ready, export, registration.
SWEEP_SECONDS, JOB_SECONDS, HERE_SECONDS, TABLE_SECONDS, MEASURE_SECONDS = 15.0, 15.0, 3.0, 15.0, 6.0
WIDTHS_TRIED = 5
"""Widths of a baseline that are measured until that which is as fast as its rival is found, see `baselines.widest`."""

FORWARD = 0.19
"""What an image that only goes forward takes, of one of a weight step: `benchmarks/step.py` measured 1.9 for ten
paths of `reinforce`, see docs/performance.md. Judged paths share their beginnings: judging takes no more."""

ARCH_STEP: dict[EstimatorName, float] = {"two-path": 0.62, "one-path": 1.36, "reinforce": FORWARD}
"""What an image of an architecture step takes, of one of a weight step, measured there too; of `reinforce` per path."""


def times_of(run: RunConfig, left: Left, image_seconds: float) -> dict[str, Any]:
    """Return how long what is left of a sweep takes where a weight step takes so long per image and core."""
    num_trials, num_baselines, source = left.num_trials, left.num_baselines, still_inherited(run)
    targets, known = run.load_targets(), prepared_images(run)
    images = known.counts if known else {}
    cores = os.cpu_count() or 1
    share = image_seconds / max(1.0, min(run.workers.max * run.workers.cpus, cores))
    warmup = (run.warmup.num_steps * run.warmup.batch_size * share + _shared_seconds(run, image_seconds)) * left.warmup
    saved = source.warmup.num_steps * source.warmup.batch_size * share if source else 0.0
    search = _search_images(run) * share
    pool, judged = (count * _path_images(run) * FORWARD * share for count in _num_judged(run))
    pool *= left.pool
    train = run.train.num_steps * run.train.batch_size * share
    around = HERE_SECONDS if run.workers.is_one and not os.environ.get("RAY_ADDRESS") else JOB_SECONDS
    once = MEASURE_SECONDS + 2 * run.measure.network_seconds  # half of it for the networks beside
    measure = {t.name: 2 * once * t.measured for t in targets}  # when derived and as a file
    widths = {t.name: WIDTHS_TRIED * once * t.measured for t in targets}
    evaluate = {t.name: _file_images(run, t, images) * FORWARD * image_seconds for t in targets}
    cross = left.num_crossed * (MEASURE_SECONDS + run.measure.network_seconds)
    timed = [t for t in targets if t.measured and t.name in left.by_target.keys() - left.tables]
    tables = len(timed) * (run.measure.table_seconds + TABLE_SECONDS)
    shared = around * (left.warmup or left.pool)
    phases = {
        "latency table": tables,
        "warm-up": warmup,
        "judge paths": pool + judged * num_trials,
        "search": search * num_trials,
        "train": train * (num_trials + left.num_trained),
        "evaluate": _sum(evaluate, left.by_target) + _sum(evaluate, left.baselines),
        "measure": _sum(measure, left.by_target) + _sum(measure, left.baselines) + _sum(widths, left.baselines) + cross,
        "workers": shared + around * (num_trials + left.num_trained),
    }
    room = run.max_concurrent if run.workers.gpus else max(1, int(cores // (run.workers.max * run.workers.cpus)))
    at_once = min(run.max_concurrent, room)
    delivery = {t.name: evaluate[t.name] + measure[t.name] for t in targets}
    trials = (search + judged + train + around) * num_trials + _sum(delivery, left.by_target)
    baselines = (train + around) * left.num_trained + _sum(delivery, left.baselines)
    alone = SWEEP_SECONDS + sum(phases.values()) - trials - baselines
    total = alone + _in_rounds(trials, num_trials, at_once) + _in_rounds(baselines, num_baselines, at_once)
    return {
        "num_test_images": images.get("test"),
        "table_seconds": round(tables, 1),
        "warmup_seconds": round(warmup, 1),
        "warmup_from": source.store.uri if source else None,
        "warmup_saved_seconds": round(saved, 1),
        "trial_seconds": round(search + judged + train + around + max(delivery.values()), 1),
        "baseline_seconds": round(train + around + max(delivery[name] + widths[name] for name in widths), 1),
        "cross_seconds": round(cross, 1),
        "total_seconds": round(total, 1),
        "phase_seconds": {phase: round(seconds, 1) for phase, seconds in phases.items()},
    }


def _sum(seconds: dict[str, float], numbers: dict[str, int]) -> float:
    """Return what so many of each target take."""
    return sum(seconds[name] * number for name, number in numbers.items())


def _in_rounds(seconds: float, number: int, at_once: int) -> float:
    """Return how long it takes to do so many alike, of so many seconds in all, some at a time."""
    return seconds * math.ceil(number / at_once) / max(number, 1)


def _shared_seconds(run: RunConfig, image_seconds: float) -> float:
    """Return how long the statistics take that paths share: they are the same on all ranks, each of which takes all."""
    images = NUM_SHARED * min(run.warmup.batch_size, MAX_AT_ONCE) * (not run.own_batches)
    return images * FORWARD * image_seconds / max(1.0, min(run.workers.cpus, os.cpu_count() or 1))


def _search_images(run: RunConfig) -> float:
    """Return the images of a trial's search, counted in those of a weight step."""
    every = run.search.arch_every if run.search_settings.train_weights else 1
    arch_batch = run.search.arch_batch_size or run.search.batch_size
    weights = run.search.batch_size if run.search_settings.train_weights else 0
    num_paths = run.search.num_samples if run.search.estimator == "reinforce" else 1
    return run.search.num_steps * (weights + ARCH_STEP[run.search.estimator] * num_paths * arch_batch / max(every, 1))


def _num_judged(run: RunConfig) -> tuple[int, int]:
    """Return how many paths are judged once for all trials, and how many by each, at most.

    A trial judges those that are proposed, as many random ones of its budget to compare with, and a pool of its own.
    """
    settings = run.derive
    proposed = settings.num_candidates if settings.strategy != "most-probable" else 1
    if run.weighted:
        return settings.pool_size * run.fills_pool, proposed
    own = settings.uses_pool and not run.fills_pool
    return settings.pool_size * run.fills_pool, 2 * proposed + settings.pool_size * own


def _path_images(run: RunConfig) -> int:
    """Return the images that judge a path, at most: those that refit its batch norm, and of validation."""
    return run.own_batches * run.search.batch_size + run.derive.max_validation_images


def _file_images(run: RunConfig, target: Target, images: dict[str, int]) -> int:
    """Return the images that judge a finished network: tests as it was trained, as its file and, where that is ONNX, as
    the torch export beside it; validation as its file.
    """
    num_tests = 2 + target.traits.takes_onnx
    return num_tests * images.get("test", 0) + images.get("validation", 0)
