"""Measuring on the machines that have the targets: every target is a Ray resource, one measurement at a time.

Why here: a device that comes late makes its trials wait, and two measurements never share a device. What is
measured and how stands in `latency`.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from latency.errors import MachineTooNoisy
from latency.measure import Measurement, measure_network
from latency.profile_space import build_table
from latency.table import LatencyTable, read_table, table_path
from latency.target import Target, read_target
from orchestrator.cluster import target_resource
from orchestrator.plan import TABLES_FOLDER, Job
from orchestrator.storage import Storage
from supernet.errors import InputError, RunError
from supernet.presets import load_space
from supernet.space import Architecture, Space, read_space

ATTEMPTS = 3


def _measure(
    space: Mapping[str, Any],
    architectures: Sequence[str],
    target: Mapping[str, Any],
    weights: bytes | None,
    seconds: float,
) -> list[dict[str, Any]]:
    """Measure networks one after the other; runs on the node of the target."""
    from safetensors.torch import load

    spaces, goal = read_space(space, "space"), read_target(target, "target")
    found = []
    for text in architectures:
        for _ in range(ATTEMPTS):
            measurement = measure_network(
                spaces, Architecture.parse(text), goal, weights=load(weights) if weights else None, seconds=seconds
            )
            if not measurement.noise:
                break
        found.append(measurement.__dict__)
    return found


def measure_on_target(
    job: Job, target: str, architectures: Sequence[Architecture], weights: bytes | None = None
) -> list[Measurement]:
    """Measure standalone networks on their target, wherever in the cluster it is; waits for the device.

    Args:
        job: The sweep.
        target: Name of the target.
        architectures: Of the sweep's space.
        weights: Safetensors of a single architecture; None for random ones.
    """
    remote = _remote(_measure, target).remote(
        load_space(job.config["space"]).to_dict(),
        [architecture.id for architecture in architectures],
        job.target(target).to_dict(),
        weights,
        job.run.measure.network_seconds,
    )
    return [Measurement(**record) for record in _result(remote)]


def _build_table(space: Mapping[str, Any], target: Mapping[str, Any], known: bytes | None, seconds: float) -> bytes:
    """Build a table, or confirm the known one, on the node of the target."""
    where, goal = read_space(space, "space"), read_target(target, "target")
    with tempfile.TemporaryDirectory(prefix="onepath-table-") as folder:
        path = table_path(folder, where, goal)
        if known is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(known)
        for attempt in range(ATTEMPTS):
            try:
                build_table(where, goal, folder, seconds=seconds * (attempt + 1))
                return path.read_bytes()
            except MachineTooNoisy as error:
                reason = str(error)
    raise RunError(reason)


def table_on_target(job: Job, target: Target) -> LatencyTable:
    """Return the latency table of the sweep's space on a target, measured there unless a valid one is kept."""
    space, tables = load_space(job.config["space"]), job.root.child(TABLES_FOLDER)
    name = table_path("", space, target).name
    known = tables.read(name) if tables.exists(name) else None
    remote = _remote(_build_table, target.name).remote(
        space.to_dict(), target.to_dict(), known, job.run.measure.table_seconds
    )
    content: bytes = _result(remote)
    if content != known:
        tables.write(name, content)
    return stored_table(tables, space, target)


def stored_table(tables: Storage, space: Space, target: Target) -> LatencyTable:
    """Read a table from storage as it stands."""
    with tempfile.TemporaryDirectory(prefix="onepath-table-") as folder:
        return read_table(tables.fetch(table_path("", space, target).name, Path(folder)))


def _remote(function: Any, target: str) -> Any:
    """Return a task that runs where the target is, alone on it, outside any placement group of the caller."""
    where = {target_resource(target): 1}
    return ray.remote(num_cpus=0, max_retries=5, resources=where, scheduling_strategy="DEFAULT")(function)


def _result(remote: Any) -> Any:
    """Wait for a task; its own error comes as itself, without the traceback of the other machine."""
    try:
        return ray.get(remote)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError | RunError):
            raise error.cause from None
        raise RunError(f"measuring failed: {error.cause!r}") from error
