"""Gives back what killed drivers of a sweep left behind on a cluster that lives on.

Why here: Ray frees what belonged to a driver or controller that died, but not a placement group that is asked for at
that very moment, nor a guard (`PlacementGroupCleaner`) whose controller died before telling it to watch. The group
holds its processors as long as the cluster lives, and the sweep would wait for them for ever; the guard holds 200 MB.
A sweep remembers its drivers, and only what is theirs is touched. It must not know what runs in them.

A driver that lives on meets a third kind: the group of a controller that ended while it started its workers.
"""

import contextlib
import time
from collections.abc import Collection, Iterator

from orchestrator.data.storage import Storage
from supernet.errors import RunError

DRIVERS_FILE = "drivers.json"
GUARD = "PlacementGroupCleaner"
PATIENCE_SECONDS = 10.0
"""How long a controller may take to end after its failure."""


@contextlib.contextmanager
def leftovers_freed(store: Storage, session: str) -> Iterator[int]:
    """Free what a sweep's earlier drivers left, remember this one, and free what it left when the block has ended.

    One driver of a sweep runs at a time. A block that raises frees nothing: the next driver does.

    Args:
        store: The sweep's folder.
        session: Name of the cluster's session: each counts its jobs from one.

    Yields:
        How many placement groups and guards there were.
    """
    import ray

    own = ray.get_runtime_context().get_job_id()
    earlier = [job for job in _drivers(store, session) if job != own]
    num_left = _remove_groups(earlier) + _end_guards(earlier)
    store.write_json(DRIVERS_FILE, {session: [*earlier, own]})
    yield num_left
    _end_guards([*earlier, own])


def _drivers(store: Storage, session: str) -> list[str]:
    """Return the earlier drivers of a session; none where the file is damaged: what they left, the head's end frees."""
    try:
        known = store.read_json(DRIVERS_FILE).get(session, []) if store.exists(DRIVERS_FILE) else []
    except RunError:
        return []
    return [str(job) for job in known] if isinstance(known, list) else []


def remove_ownerless_groups() -> None:
    """Remove the placement groups of this job whose controller is dead: Ray keeps them until the job ends.

    One is waited for: a controller ends a moment after it has told its failure.
    """
    import gc

    import ray
    from ray._private.state import state  # no public call tells who made a group
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    gc.collect()  # the traceback of its failure holds on to a controller
    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id()).binary()
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        groups = map(PlacementGroupTableData.FromString, state._connect_and_get_accessor().get_placement_group_table())
        left = [
            group
            for group in groups
            if group.creator_job_id == job
            and group.creator_actor_dead
            and not group.is_detached
            and group.state != PlacementGroupTableData.REMOVED
        ]
        for group in left:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
        if left or time.monotonic() > end:
            return
        time.sleep(0.2)


def _remove_groups(jobs: Collection[str]) -> int:
    import ray
    from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

    # The id of a group ends with that of its job.
    left = [name for name, group in placement_group_table().items() if group["state"] != "REMOVED"]
    left = [name for name in left if name.endswith(tuple(jobs))]
    for name in left:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(name)))
    return len(left)


def _end_guards(jobs: Collection[str]) -> int:
    """End the guards of jobs where the cluster can list them: it has no call that ends an actor of another job."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
    from ray.util.state import list_actors
    from ray.util.state.exception import RayStateApiException

    try:
        guards = list_actors(filters=[("class_name", "=", GUARD), ("state", "=", "ALIVE")], limit=10_000)
    except RayStateApiException:  # a head without a dashboard
        return 0
    left = [guard for guard in guards if guard.job_id in jobs and guard.pid]
    end = ray.remote(num_cpus=0)(_end_process)
    tasks = [
        end.options(scheduling_strategy=NodeAffinitySchedulingStrategy(guard.node_id, soft=False)).remote(guard.pid)
        for guard in left
    ]
    ray.get(tasks)
    return len(left)


def _end_process(pid: int) -> None:
    import os
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
