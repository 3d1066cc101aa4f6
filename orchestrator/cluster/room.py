"""Whether a cluster has room for the ranks that a sweep asks for, said before anything waits for it.

Why here: Ray waits without a word for resources that never come. It must not know what ranks do, nor start anything.
"""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.plan.workers import WorkersConfig
from supernet.errors import InputError

Resources = Mapping[str, float]


def worker_resources(workers: WorkersConfig) -> dict[str, float]:
    """Return what one rank takes."""
    return {"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {}), **workers.resources}


def runs_here(workers: WorkersConfig, *, embedded: bool) -> bool:
    """Return whether a job's one rank can be the process that runs the trial, on a cluster of this process's own.

    Then no process has to start and import torch for it. Elsewhere ranks are placed by what they need.
    """
    return embedded and workers.is_one


def fitting(node: Resources, need: Resources) -> int:
    """Return how many ranks fit a node when nothing else runs there."""
    return int(min(node.get(name, 0.0) / amount + 1e-9 for name, amount in need.items() if amount))


def jobs_at_once(nodes: Sequence[Resources], workers: WorkersConfig) -> int:
    """Return how many training jobs have room for `workers.min` ranks beside others, each of which takes what it may.

    One at least: it waits for machines.
    """
    total = sum(fitting(node, worker_resources(workers)) for node in nodes)
    return max(1, 1 + (total - workers.min) // workers.max)


def room_notes(
    nodes: Sequence[Resources], workers: WorkersConfig, max_concurrent: int, *, embedded: bool
) -> Iterator[str]:
    """Say what about the room for ranks a user would want to know now.

    Args:
        nodes: Resources of every node that lives, in all.
        workers: What the sweep asks for.
        max_concurrent: Trials that it wants in progress at once.
        embedded: Whether the cluster is this process's own: then no node can join it.

    Yields:
        Lines of text.

    Raises:
        InputError: If `workers.min` ranks never fit.
    """
    need = worker_resources(workers)
    total = sum(fitting(node, need) for node in nodes)
    asked = ", ".join(f"{name}: {amount:g}" for name, amount in need.items())
    if total < workers.min and embedded:
        raise InputError(
            f"workers.min: {workers.min} ranks with {asked} each do not fit this machine, which has room for {total}; "
            "ask for less, or join a cluster (RAY_ADDRESS)"
        )
    if total < workers.min:
        yield (
            f"the cluster has room for {total} ranks with {asked} each, and workers.min is {workers.min}: "
            "waiting for machines to join, 20 rounds per training job (docs/cluster.md)"
        )
    elif (at_once := jobs_at_once(nodes, workers)) < max_concurrent:
        yield (
            f"the cluster has room for {total} ranks with {asked} each, and a trial takes up to {workers.max}: "
            f"{at_once} at a time, not {max_concurrent} (max_concurrent)"
        )
    hardware = {name: amount for name, amount in need.items() if name in ("CPU", "GPU")}
    more = sum(fitting(node, hardware) for node in nodes if fitting(node, need))
    if workers.resources and total < min(more, workers.max):
        yield (
            f"workers.resources hold the cluster to {total} ranks where its processors have room for {more}: a machine "
            "runs as many ranks as it announces units, e.g. --resources '{\"train\": 8}' for eight GPUs"
        )
