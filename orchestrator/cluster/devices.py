"""Measuring on the machines that have the targets: every target is a Ray resource, one measurement at a time.

Why here: a device that comes late makes its trials wait, one that never comes is said to be missing, and two
measurements never share a device. What is measured and how stands in `latency`.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import ray

from latency.errors import MachineTooNoisy
from latency.graphs.quantise import Quantisation
from latency.measuring.measure import Measurement, measure_network
from latency.measuring.process import MeasuringProcess
from latency.tables.build import build_table
from latency.tables.estimate import cost_table
from latency.tables.file import read_table, table_path
from latency.target import Target, read_target
from orchestrator.cluster.beside import Beside, kept_table, known_near, references_here
from orchestrator.cluster.progress import leave_table, left_table, poster
from orchestrator.cluster.session import announced, target_resources
from orchestrator.cluster.tasks import result_of
from orchestrator.data.storage import Storage
from orchestrator.plan.machines import require_same
from orchestrator.plan.news import News
from orchestrator.plan.trials import TABLES_FOLDER, Job
from supernet.cost import CostTable
from supernet.errors import RunError
from supernet.plain import read, to_plain
from supernet.space import Architecture, read_space

_kept: list[MeasuringProcess] = []
"""The measuring process of this process's last target: the next measurement starts at once if it is of the same one."""

Found = TypeVar("Found")

ATTEMPTS = 3
WAITING = "waiting for "
"""How a measurement begins to say what it waits for."""
LOOK_SECONDS = 2.0
"""Between two looks at whether a device is there."""


def kept_process(target: Target) -> MeasuringProcess:
    """Return the kept measuring process if it is the target's, else a new one, kept from now on."""
    if not _kept or _kept[0].target != target:
        for other in _kept:
            other.close()
        _kept[:] = [MeasuringProcess(target)]
    return _kept[0]


def _measure(
    space: Mapping[str, Any],
    architecture: str,
    target: Mapping[str, Any],
    seconds: float,
    key: str,
    beside: Beside | None,
    int8: Mapping[str, Any],
) -> Measurement:
    """Measure a network with random weights; runs on the node of the target."""
    where, goal, tell = read_space(space, "space"), read_target(target, "target"), teller(poster(), key, "measure")
    references = references_here(beside, goal)

    def measure() -> Measurement:
        return measure_network(
            where,
            Architecture.parse(architecture),
            goal,
            int8=read(Quantisation, int8, "int8"),
            seconds=seconds,
            references=references,
            progress=tell,
            run=kept_process(goal).run,
        )

    return quietest(measure, disturbance)


def disturbance(found: Measurement) -> str:
    """Return why a figure may be more than what was measured takes, or nothing."""
    return found.noise or (found.moved if found.slowed else "")


def quietest(measure: Callable[[], Found], noise: Callable[[Found], str]) -> Found:
    """Measure again while there is noise in what was found, a few times."""
    for _ in range(ATTEMPTS - 1):
        found = measure()
        if not noise(found):
            return found
    return measure()


def teller(post: Callable[[News], None], key: str, phase: str) -> Callable[[str, float], None]:
    """Return a function that posts what a measurement does, and its share done in percent."""

    def tell(text: str, share: float) -> None:
        waits_for = text.removeprefix(WAITING) if text.startswith(WAITING) else ""
        post(News(key, phase, int(100 * share), 100, waits_for=waits_for))

    return tell


def measure_on_target(job: Job, target: str, architecture: Architecture, near_ms: float, key: str) -> Measurement:
    """Measure a standalone network on its target, wherever in the cluster it is; waits for the device.

    Args:
        job: The sweep.
        target: Name of the target, a measured one.
        architecture: Of the sweep's space; its weights are random.
        near_ms: What it may take: networks of the table that take about so long are measured beside it, `known_near`.
        key: Of the news about it.

    Raises:
        RunError: If no node announces the target for `measure.wait_minutes`, or measuring fails.
    """
    network, seconds = (job.space.to_dict(), architecture.id), job.run.measure.network_seconds
    beside, int8 = known_near(job, target, near_ms), to_plain(job.run.deliver.int8)
    plain = *network, job.target(target).to_dict(), seconds, key, beside, int8
    found: Measurement = on_target(job, target, _measure, *plain, news=News(key, "measure"))
    return found


class OnTarget:
    """A function that runs where a target is, alone on it, as soon as its device is there.

    Args:
        job: The sweep.
        target: Name of the target.
        function: Of a module; it travels by name.
        *arguments: Plain data.
        news: Told while the device is waited for.
    """

    def __init__(self, job: Job, target: str, function: Callable[..., Any], *arguments: object, news: News) -> None:
        self.job, self.target = job, target
        self._patience = Patience(job.run.measure.wait_minutes)
        poster()(replace(news, waits_for=f"the device of {target}"))  # before it can begin, and post in its turn
        self._remote = _remote(function, target).remote(*arguments)

    def ended(self, seconds: float, *, patient: bool = False) -> bool:
        """Return whether it ended, after so many seconds at most.

        Args:
            seconds: To wait for it.
            patient: Whether the device may be away now, for as long as it likes.

        Raises:
            RunError: If no node has announced the target for `measure.wait_minutes`; then it is called off.
        """
        if ray.wait([self._remote], timeout=seconds)[0]:
            return True
        if self._patience.lost(patient or bool(announced([self.target]))):
            ray.cancel(self._remote, force=True)
            raise _missing(self.job, self.target)
        return False

    def result(self) -> Any:
        """Return what it returned; its own error comes as itself, without the traceback of the other machine."""
        return result_of(self._remote, f"measuring on {self.target}")


def on_target(job: Job, target: str, function: Callable[..., Any], *arguments: object, news: News) -> Any:
    """Return what a function returns where the target is, see `OnTarget`.

    Raises: as `measure_on_target`.
    """
    asked = OnTarget(job, target, function, *arguments, news=news)
    while not asked.ended(LOOK_SECONDS):
        pass
    return asked.result()


def _build_table(
    space: Mapping[str, Any], target: Mapping[str, Any], known: bytes | None, seconds: float, key: str
) -> bytes:
    """Build a table, or confirm the known one, on the node of the target.

    Trials that wait for one device come here one after the other: the first leaves its table to the others.
    """
    where, goal = read_space(space, "space"), read_target(target, "target")
    tell = teller(poster(), key, "latency table")
    with tempfile.TemporaryDirectory(prefix="onepath-table-") as folder:
        path = table_path(folder, where, goal)
        known = left_table(path.name) or known
        if known is not None:
            path.write_bytes(known)
        run = kept_process(goal).run
        for attempt in range(ATTEMPTS):
            try:
                build_table(where, goal, folder, seconds=seconds * (attempt + 1), progress=tell, run=run)
                content = path.read_bytes()
                leave_table(path.name, content)
                return content
            except MachineTooNoisy as error:
                reason = str(error)
    raise RunError(f"{reason}; a sweep takes that from measure.table_seconds, now {seconds:g}")


Asked = Callable[[float, bool], CostTable | None]
"""Gives the costs that were asked for, or none yet: waits for so many seconds, patient or not, see `OnTarget.ended`."""


def ask_costs(job: Job, name: str) -> Asked:
    """Ask for the costs of the sweep's space on a target: counted, or a table that is measured there.

    A valid table that is kept is only confirmed.

    Args:
        job: The sweep.
        name: Of the target; news about it go by that.

    Returns:
        What gives the costs; it raises as `measure_on_target`.
    """
    space, target, tables = job.space, job.target(name), job.root.child(TABLES_FOLDER)
    if not target.measured:
        return lambda seconds, patient: cost_table(space, target, "")
    file = table_path("", space, target).name
    known = _stored(tables, file)
    plain = space.to_dict(), target.to_dict(), known, job.run.measure.table_seconds, name
    asked = OnTarget(job, name, _build_table, *plain, news=News(name, "latency table"))

    def costs(seconds: float, patient: bool) -> CostTable | None:
        if not asked.ended(seconds, patient=patient):
            return None
        content: bytes = asked.result()
        with tempfile.TemporaryDirectory(prefix="onepath-table-") as folder:
            (Path(folder) / file).write_bytes(content)
            require_same(job, name, read_table(Path(folder) / file).fingerprint)
        if _stored(tables, file) == known != content:  # else another driver was faster: all use the same table
            tables.write(file, content)
        return kept_table(tables, file).cost_table()

    return costs


def _stored(tables: Storage, name: str) -> bytes | None:
    return tables.read(name) if tables.exists(name) else None


def _remote(function: Any, target: str) -> Any:
    """Return a task that runs where the target is, alone on it, outside any placement group of the caller.

    A node that dies under it counts as a try; the next one waits for the target to come back or runs elsewhere.
    """
    where = target_resources([target])
    return ray.remote(num_cpus=0, max_retries=100, resources=where, scheduling_strategy="DEFAULT")(function)


class Patience:
    """How long to wait for a target that no node announces.

    Args:
        minutes: Time without the target after which it is given up.
        clock: Seconds, monotonic.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.minutes, self.clock = minutes, clock
        self.seen_at = clock()

    def lost(self, present: bool) -> bool:
        """Take note of whether the target is there now; return whether to give up."""
        now = self.clock()
        if present:
            self.seen_at = now
        return now - self.seen_at > 60 * self.minutes


def _missing(job: Job, target: str) -> RunError:
    return RunError(
        f"no node of the cluster measured target {target!r} for {job.run.measure.wait_minutes:g} minutes; start one on "
        f"its machine with `onepath device serve --target {target} --address HEAD:PORT`"
    )
