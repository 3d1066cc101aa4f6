"""What is measured beside a network: networks of the target's table, on the machine that the table was measured on.

Why here: they tell the machine's mood from a network's own time, and only that machine may be asked. It must not know
Ray, nor how a measurement gets to its device.
"""

import contextlib
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency.measuring.measure import References
from latency.tables.file import read_table, table_path
from latency.tables.fingerprint import differences, fingerprint
from latency.tables.table import LatencyTable
from latency.target import Target
from orchestrator.data.storage import Storage
from orchestrator.plan.trials import TABLES_FOLDER, Job
from supernet.errors import InputError, RunError
from supernet.space import read_space


@dataclass(frozen=True)
class Beside:
    """Networks of a table that are measured beside another.

    Attributes:
        space: Of the table, as plain data.
        known_ms: What they took, by the ids of their architectures; none where they are not asked for.
        fingerprint: What the table was measured on, as plain data.
        table: Where it is kept, for messages.
    """

    space: Mapping[str, Any]
    known_ms: Mapping[str, float]
    fingerprint: Mapping[str, Any]
    table: str


def known_near(job: Job, target: str, near_ms: float | None) -> Beside | None:
    """Return networks of a target's table that took nearest to so many milliseconds.

    None where there is no table of the job's space. No networks where none are asked for, or a program runs one at a
    time.
    """
    tables, goal = job.root.child(TABLES_FOLDER), job.target(target)
    name = table_path("", job.space, goal).name
    if not tables.exists(name):
        return None
    with contextlib.suppress(InputError):
        table = kept_table(tables, name)
        known = {} if near_ms is None or goal.traits.external else table.calibration.near(near_ms)
        return Beside(job.space.to_dict(), known, table.fingerprint, f"{tables.uri}/{name}")
    return None


def measured_again(job: Job, target: str, *, slowed: bool) -> str:
    """Return what to do about a figure that cannot be believed.

    Args:
        job: The sweep.
        target: Name of the target.
        slowed: Whether the machine is slower than its table knows it: that may stay so.
    """
    again = "the same command measures it again"
    if not slowed:
        return again
    known = job.with_tables
    table = f"{known.root.child(TABLES_FOLDER).uri}/{table_path('', known.space, known.target(target)).name}"
    return f"{again}. If the machine stays so, remove {table}, and a new table is measured first"


def references_here(beside: Beside | None, target: Target) -> References | None:
    """Return what is measured beside a network on this node.

    Raises:
        RunError: If the table was measured on something else: another machine that has the target's name.
    """
    if beside is None:
        return None
    space = read_space(beside.space, "space")
    unlike = differences(beside.fingerprint, fingerprint(space, target))
    if unlike:
        raise RunError(
            f"target {target.name}: {socket.gethostname()} is not what its table was measured on "
            f"({'; '.join(unlike)}); machines that differ are targets of their own: announce each under its own name, "
            f"or give it a storage of its own. If this one takes the other's place, remove {beside.table}: a new table "
            f"is measured"
        )
    return References(space, beside.known_ms) if beside.known_ms else None


def kept_table(tables: Storage, name: str) -> LatencyTable:
    """Read a table of a storage by its name.

    Raises:
        InputError: If it is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="onepath-table-") as folder:
        return read_table(tables.fetch(name, Path(folder)))
