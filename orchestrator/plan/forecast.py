"""What a sweep would do, or what is left of it, take and cost, before anything is started.

Why here: a night on a cluster is planned from this. Counts come from the configuration and the space, memory from the
shapes of a step's tensors; speeds are measured for a few seconds on this machine, and the page says so. What follows of
them for each phase stands in `times`.
"""

import time
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table
from torch.nn import functional as F

from orchestrator.plan.activations import arch_step_bytes, weight_step_bytes
from orchestrator.plan.check import not_here
from orchestrator.plan.config import RunConfig
from orchestrator.plan.left import job_of, left_of
from orchestrator.plan.objectives import costs_at_hand, limited_by_nothing, require_searchable
from orchestrator.plan.times import times_of
from orchestrator.report.live import clock, clock_range
from supernet.cost import macs_table, params_table
from supernet.estimators import make_estimator
from supernet.network import Supernet
from supernet.presets import load_space
from supernet.search_settings import SearchSettings
from supernet.space import Space
from supernet.training import resolved

REST_BYTES = 16 * 2**20
"""Registry and records of a small sweep."""

KEPT_BYTES = 2 * 2 * 4 + 3 * 4
"""What a finished trial keeps, per parameter of its network: two checkpoints of weights and momentum, its weights, and
two files of them."""

WEIGHT_COPIES = 4
"""Weights, gradients and momentum of a supernet, and a copy while a checkpoint is written."""


def forecast(run: RunConfig) -> dict[str, Any]:
    """Return trials, sizes and times of what is left of a sweep as plain data; units stand in the names.

    How many widths of a known network stand beside the fronts is not known before these are: `least_seconds` is with
    one of each, all else with another beside every network.
    Times are for this machine's processor at the configured number of workers; a table or a warm-up that has begun
    counts as a whole. Judging files takes as long as there are images: it counts once these are prepared.

    Raises:
        InputError: If what has begun of it has other settings, prepared images are split otherwise, or no trial that is
            left can be searched for by the tables that are at hand.
    """
    job = job_of(run)
    space, left = job.space, left_of(run)
    costs = costs_at_hand(job)
    unsearchable = require_searchable(job, costs)
    params, macs, supernet = params_table(space), macs_table(space), Supernet(space).train()
    image_seconds = _image_seconds(supernet)
    times = times_of(run, left, image_seconds)
    return {
        "name": run.name,
        "space": space.name,
        "num_architectures": space.num_architectures,
        "targets": [target.name for target in run.load_targets()],
        "not_here": not_here(run.load_targets()),
        "unsearchable": unsearchable,
        "limited_by_nothing": limited_by_nothing(job, costs),
        "num_trials": left.num_trials,
        "num_finished": left.num_finished,
        "num_baselines": left.num_baselines,
        "placed_by": _placed_by(run),
        "trials": [{"key": t.key, "target": t.target, "kind": t.kind, "value": t.value} for t in left.trials],
        "mode": run.mode,
        "workers": run.workers.model_dump(),
        "largest_network": {"num_params": int(params.maximum), "num_macs": int(macs.maximum)},
        "supernet_mib": _mib(4 * WEIGHT_COPIES * sum(p.numel() for p in supernet.parameters())),
        "step_mib": _step_mib(run, supernet),
        "images_per_second_per_core": round(1 / image_seconds, 1),
        **times,
        "least_seconds": _least_seconds(run, image_seconds),
        "worker_hours": round(sum(times["phase_seconds"].values()) / 3600 * run.workers.max, 2),
    }


def forecast_seconds(run: RunConfig) -> dict[str, float]:
    """Return the seconds that each phase of a sweep is to take, over all trials, and in all as `wall`, or as `least`.

    A short one of `forecast`, to hold against what the sweep took. Empty for ranks with GPUs: times are for this
    machine's processor.
    """
    if run.workers.gpus:
        return {}
    image_seconds = _image_seconds(Supernet(load_space(run.space)).train(), seconds=1.0)
    times = times_of(run, left_of(run), image_seconds)
    return {
        **times["phase_seconds"],
        "least": _least_seconds(run, image_seconds),
        "wall": times["total_seconds"],
    }


def _least_seconds(run: RunConfig, image_seconds: float) -> float:
    """Return how long what is left of a sweep takes with as few baselines as there may be."""
    return float(times_of(run, left_of(run, fewest=True), image_seconds)["total_seconds"])


def _placed_by(run: RunConfig) -> str:
    """Return how points are placed, in words; empty where trials are listed."""
    if not run.sweep.points:
        return ""
    known = "judged paths" if run.fills_pool else "the tables"
    return (
        f"up to {run.sweep.points} {'weights' if run.weighted else 'budgets'} per target: the ends of its front, then "
        f"its widest gaps, by {known} first and by finished trials after"
    )


def storage_bytes(run: RunConfig) -> int:
    """Return about how much what is left of a sweep writes.

    Three checkpoints of the supernet, with momentum, per running job and for the warm-up; and what every trial and
    baseline keeps, as if its network were the largest.
    """
    space, left = load_space(run.space), left_of(run)
    num_params = sum(p.numel() for p in _meta(space).parameters())
    working = 3 * 2 * 4 * num_params * (run.max_concurrent + left.warmup)
    kept = KEPT_BYTES * int(params_table(space).maximum) * (left.num_trials + left.num_baselines)
    return working + kept + REST_BYTES


def _meta(space: Space) -> Supernet:
    with torch.device("meta"):
        return Supernet(space)


def _step_mib(run: RunConfig, supernet: Supernet) -> dict[str, float]:
    """Return what a step of each kind takes beside the weights on a worker, on the path with the most MACs.

    With the fewest workers: then each has the most images.
    """
    path = tuple(max(range(len(row)), key=row.__getitem__) for row in macs_table(supernet.space).candidates)

    device = torch.device("cuda" if run.workers.gpus else "cpu")

    def images(batch_size: int, num_paths: int = 1) -> int:
        return -(-batch_size // (run.workers.min * num_paths))

    weights: dict[str, SearchSettings] = {"warm-up": run.warmup}
    if run.search_settings.train_weights:
        weights["search"] = run.search
    found = {
        name: weight_step_bytes(
            supernet,
            path,
            images(settings.batch_size, settings.sharing.num_shares),
            resolved(settings.precision, device),
            recompute=settings.recompute,
        )
        for name, settings in weights.items()
    }
    arch = images(run.search.arch_batch_size or run.search.batch_size)
    estimator = make_estimator(run.search.estimator, run.search.num_samples)
    found["architecture"] = arch_step_bytes(
        supernet,
        path,
        arch,
        resolved(run.search.precision, device),
        graph=estimator.backward,
        recompute=run.search.recompute,
    )
    precision = resolved(run.train.precision, device)
    found["training"] = weight_step_bytes(supernet, path, images(run.train.batch_size), precision)
    return {name: _mib(size) for name, size in found.items()}


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


def _trials(found: dict[str, Any]) -> str:
    left, finished = found["num_trials"], found["num_finished"]
    names = found["placed_by"] or ", ".join(trial["key"] for trial in found["trials"])
    number = f"{left} left, {finished} finished" if finished else f"{left}"
    return f"{number}: {names}" if left else number


def _rows_after(found: dict[str, Any]) -> dict[str, str]:
    number, cross = found["num_baselines"], found["cross_seconds"]
    baselines = {"baselines": f"{number} at most, each {clock(found['baseline_seconds'])}"} if number else {}
    return baselines | ({"cross table": f"{clock(cross)} at most"} if cross else {})


def _saving(found: dict[str, Any]) -> str:
    if not found["warmup_from"]:
        return ""
    saved = clock(found["warmup_saved_seconds"])
    return f", on the supernet of {escape(found['warmup_from'])}: saves the {saved} that its own would take here"


def _unjudged(found: dict[str, Any]) -> str:
    known = found["num_test_images"] is not None
    return "" if known else ", without judging its file: the images are not prepared yet"


def _mib(size: int) -> float:
    return round(size / 2**20, 1)


def _image_seconds(supernet: Supernet, seconds: float = 2.0) -> float:
    """Return the time of one weight step per image on one core of this machine, mean over random paths.

    Processor time: what other work takes of the machine at the moment says nothing about the night.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    space = supernet.space
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, *space.input_size, generator=generator).to(memory_format=torch.channels_last)
    labels = torch.zeros(16, dtype=torch.int64)
    count, start = 0, time.process_time()
    while count < 3 or time.process_time() - start < seconds:
        if count == 2:
            start = time.process_time()  # the first steps are slower
        draws = [int(torch.randint(len(p.candidates), (), generator=generator)) for p in space.positions]
        F.cross_entropy(supernet(images, tuple(draws)), labels).backward()  # type: ignore[no-untyped-call]
        count += 1
    torch.set_num_threads(threads)
    return (time.process_time() - start) / ((count - 2) * 16)


def forecast_table(found: dict[str, Any]) -> Table:
    """Return the forecast as a table for the terminal."""
    table = Table(title=f"sweep {found['name']}: a forecast, nothing was started", show_header=False)
    largest, steps = found["largest_network"], found["step_mib"]
    largest_step = max(steps.values())
    rows = {
        "space": f"{found['space']}, {found['num_architectures']:,} architectures",
        "largest network": f"{largest['num_params']:,} parameters, {largest['num_macs']:,} MACs",
        "trials": _trials(found),
        "mode": f"{found['mode']}, {_workers(found['workers']['max'])}",
        "memory": f"{found['supernet_mib'] + largest_step:.0f} MiB a worker beside the process itself: "
        f"{found['supernet_mib']:.0f} for the supernet, {largest_step:.0f} for a step of its largest path "
        f"({max(steps, key=steps.__getitem__)})",
        "speed here": f"{found['images_per_second_per_core']} images a second and core (weight steps)",
        "tables": clock(found["table_seconds"]),
        "warm-up": clock(found["warmup_seconds"]) + _saving(found),
        "each trial": clock(found["trial_seconds"]) + _unjudged(found),
        **_rows_after(found),
        "in all": f"{clock_range(found['least_seconds'], found['total_seconds'])} on this machine's cores, "
        f"{found['worker_hours']} worker-hours{' at most' * (found['least_seconds'] < found['total_seconds'])}",
    }
    for target, reason in found["not_here"].items():
        rows[f"{target}: not here"] = escape(f"{reason}; another machine of the cluster has to measure it")
    for key, reason in found["unsearchable"].items():
        rows[f"{key}: will fail"] = escape(reason)
    for key, reason in found["limited_by_nothing"].items():
        rows[f"{key}: no limit"] = escape(reason)
    for name, value in rows.items():
        table.add_row(name, value)
    return table
