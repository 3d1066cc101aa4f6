"""Gives back what killed drivers of a sweep left reserved on a cluster that lives on.

Why here: Ray frees the placement groups of a driver that died, but not one that a training controller asks for at
that very moment: it holds its processors as long as the cluster lives, and the sweep would wait for them for ever.
A sweep remembers its drivers, and only their groups are touched. It must not know what runs in them.
"""

from orchestrator.storage import Storage

DRIVERS_FILE = "drivers.json"


def free_leftovers(store: Storage, session: str) -> int:
    """Remove the placement groups of a sweep's earlier drivers, and remember this one; one driver runs at a time.

    Args:
        store: The sweep's folder.
        session: Name of the cluster's session: each counts its jobs from one.

    Returns:
        How many there were.
    """
    import ray
    from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

    own = ray.get_runtime_context().get_job_id()
    known = store.read_json(DRIVERS_FILE).get(session, []) if store.exists(DRIVERS_FILE) else []
    earlier = tuple(job for job in known if job != own)
    # The id of a group ends with that of its job.
    left = [name for name, group in placement_group_table().items() if group["state"] != "REMOVED"]
    left = [name for name in left if name.endswith(earlier)]
    for name in left:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(name)))
    store.write_json(DRIVERS_FILE, {session: [*earlier, own]})
    return len(left)
