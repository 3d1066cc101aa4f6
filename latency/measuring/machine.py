"""Facts of this machine, and its processor cores: which is quiet, which may be used. Measures no model.

Reads `/proc` and `/sys`; on systems without them the facts are poorer and cores are left to the system.
"""

import fcntl
import hashlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from pathlib import Path as FilePath
from typing import Any


def cpu_facts() -> dict[str, Any]:
    """Return what identifies the processor: model, number of cores, and a hash of its feature flags."""
    fields: dict[str, str] = {}
    cpuinfo = FilePath("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    model = fields.get("model name") or fields.get("CPU part") or platform.processor() or platform.machine()
    flags = " ".join(sorted((fields.get("flags") or fields.get("Features") or "").split()))
    return {
        "cpu": model,
        "arch": platform.machine(),
        "num_cpus": os.cpu_count(),
        "cpu_flags": hashlib.sha256(flags.encode()).hexdigest()[:12],
    }


def versions(distributions: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of installed distributions."""
    return {name: metadata.version(name) for name in distributions}


def not_installed(distributions: tuple[str, ...]) -> list[str]:
    """Return the distributions that are not installed."""
    missing = []
    for name in distributions:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    return missing


def allowed_cores() -> list[int]:
    """Return the cores that a measuring process may get, whatever this thread is pinned to; none if none is pinned."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    own = os.sched_getaffinity(0)
    release_affinity()
    try:
        return sorted(os.sched_getaffinity(0))
    finally:
        os.sched_setaffinity(0, own)


def fast_cores() -> list[int]:
    """Return the cores that a measuring process may get; on processors with unlike cores, only the fastest kind."""
    cores = allowed_cores()
    speed = {core: _number(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq") for core in cores}
    return [core for core in cores if speed[core] >= 0.99 * max(speed.values())]


def release_affinity() -> None:
    """Undo any pinning that was inherited: the kernel keeps it within what the container allows."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


class QuietCores:
    """Knows the cores where others do least, looking again before each round.

    Args:
        cores: Cores to choose from; empty leaves the choice to the system.
        num: How many are needed.
        busy: Returns the seconds that each core was busy since start-up.
    """

    def __init__(self, cores: list[int], num: int, busy: Callable[[], dict[int, float]] | None = None) -> None:
        self.cores = list(dict.fromkeys(cores))
        self.busy_seconds = busy or busy_seconds
        self.num = min(num, len(self.cores))
        self.own: frozenset[int] = frozenset()
        self.before = self.busy_seconds()
        self.own_before = 0.0

    def move(self, own_seconds: float) -> None:
        """Choose the cores that others used least since the last call.

        Args:
            own_seconds: Processor time that the workers used so far, all of it on the cores chosen before.
        """
        if not self.num:
            return
        now = self.busy_seconds()
        own_share = (own_seconds - self.own_before) / max(len(self.own), 1)
        busy = {
            core: now.get(core, 0.0) - self.before.get(core, 0.0) - (own_share if core in self.own else 0.0)
            for core in self.cores
        }
        # Leave only for a core that is clearly quieter: the counters tick in hundredths of a second.
        ranked = sorted(self.cores, key=lambda core: busy[core] - (0.05 if core in self.own else 0.0))
        self.own, self.before, self.own_before = frozenset(ranked[: self.num]), now, own_seconds


def busy_seconds() -> dict[int, float]:
    """Return, per core, the seconds that it was busy or stolen since start-up."""
    stat = FilePath("/proc/stat")
    if not stat.is_file():
        return {}
    ticks = os.sysconf("SC_CLK_TCK")
    busy = {}
    for line in stat.read_text().splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, counts[:8])
            busy[int(name[3:])] = (user + nice + system + irq + softirq + steal) / ticks
    return busy


@contextmanager
def watched_threads(task: str = "/proc/self/task") -> Iterator[Callable[[], int]]:
    """Open what the kernel says of each thread of this process; give what adds up how long they have waited for a core.

    Reading takes one or two microseconds a thread, so that it can be done around every call. Threads that begin
    meanwhile are not among them. Where the kernel says nothing, nobody waits.

    Args:
        task: Folder of the threads.
    """
    with ExitStack() as stack:
        files: list[int] = []
        for file in FilePath(task).glob("*/schedstat"):
            with suppress(OSError):  # a thread that has ended
                files.append(os.open(file, os.O_RDONLY))
                stack.callback(os.close, files[-1])
        yield lambda: sum(map(_waited_ns, files))


def _waited_ns(file: int) -> int:
    """Return the nanoseconds that a thread was ready to run and did not, the second number of its `schedstat`."""
    try:
        return int(os.pread(file, 100, 0).split()[1])
    except OSError:  # it has ended
        return 0


@contextmanager
def measuring_lock(device: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Wait until no other measurement of this user runs on the device, and hold it.

    Two measurements at once would disturb each other, and both would be refused as noisy.

    Args:
        device: Of the target; `cuda` is `cuda:0`.
        waiting: Called once if there is something to wait for.
    """
    device = "cuda:0" if device == "cuda" else device
    name = "".join(c if c.isalnum() else "-" for c in device)
    path = FilePath(tempfile.gettempdir()) / f"onepath-measuring-{os.getuid()}-{name}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def _number(path: str) -> float:
    try:
        return float(FilePath(path).read_text())
    except (OSError, ValueError):
        return 1.0
