"""Who runs a sweep: one driver at a time, noted in the sweep's own storage, a folder or an object store.

Why here: a second driver would take the first one's processes for leftovers of a killed one. It learns who holds the
sweep and since when, and takes over only from the dead. It must not know Ray, nor what a driver does.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.data.storage import Storage
from supernet.errors import InputError, RunError
from supernet.files import process_lives
from supernet.plain import read_json, to_json

LEASE_FILE = "driver.json"
BEAT_SECONDS = 10.0
DEAD_AFTER_BEATS = 6
"""A driver that has not written for so long is dead. Clocks of machines differ, so this is watched, not computed."""

SETTLE_SECONDS = 0.5
"""Of two drivers that begin at once, the one that wrote last finds itself after this time."""

TAKEN_OVER = signal.SIGUSR2
"""Interrupts a driver that lost its sweep. Not SIGINT: a shell starts what is in its background with that ignored."""


@dataclass(frozen=True)
class Lease:
    """A driver of a sweep.

    Attributes:
        owner: A random name.
        host: Name of its machine.
        machine: Which machine and process table its `pid` belongs to; empty where the system does not say.
        pid: Its process.
        job: Its Ray job, where it is one.
        since: When it began.
        beat: Grows as long as it lives.
        ended: It has ended and holds nothing any more.
    """

    owner: str
    host: str
    machine: str
    pid: int
    job: str
    since: str
    beat: int = 0
    ended: bool = False

    @property
    def is_gone(self) -> bool:
        """Whether it has ended, or its process is not there though it would be on this machine."""
        if self.ended or not self.machine or self.machine != _machine():
            return self.ended
        return not process_lives(self.pid)

    def held(self, name: str) -> RunError:
        """Return the error for somebody who wants the sweep too."""
        stop = f"`ray job stop {self.job}`" if self.job else f"`kill {self.pid}` on {self.host}"
        return RunError(
            f"sweep {name!r} is being run by process {self.pid} on {self.host} since {self.since}; wait for its end, "
            f"or end it with {stop} (closing a terminal ends no job), then give this command again"
        )


@contextlib.contextmanager
def held(
    store: Storage, name: str, say: Callable[[str], None] = lambda text: None, *, beat_seconds: float = BEAT_SECONDS
) -> Iterator[None]:
    """Hold a sweep for the time of the block, and free it at its end.

    Args:
        store: The sweep's folder.
        name: Of the sweep, for messages.
        say: Told where this takes time.
        beat_seconds: Between two signs of life.

    Raises:
        RunError: If another driver holds it, or took it over because this one seemed dead (suspended, cut off).
    """
    lease = _take(store, name, say, beat_seconds)
    heart = _Heart(store, lease, beat_seconds)
    before = signal.signal(TAKEN_OVER, signal.default_int_handler)
    heart.start()
    try:
        yield
    except KeyboardInterrupt:
        if heart.taken_by:
            raise heart.taken_by.held(name) from None
        raise
    finally:
        heart.end()
        signal.signal(TAKEN_OVER, before)


def _take(store: Storage, name: str, say: Callable[[str], None], beat_seconds: float) -> Lease:
    other = _read(store)
    if other and not other.is_gone:
        say(f"process {other.pid} on {other.host} runs this sweep since {other.since}: looking whether it lives")
        end = time.monotonic() + DEAD_AFTER_BEATS * beat_seconds
        while time.monotonic() < end:
            time.sleep(beat_seconds / 10)
            now = _read(store)
            if now != other and now and not now.is_gone:
                raise now.held(name)
            if now and now.is_gone:
                break
    mine = _new_lease()
    _write(store, mine)
    time.sleep(min(SETTLE_SECONDS, beat_seconds))
    found = _read(store)
    if found and found.owner != mine.owner:
        raise found.held(name)
    return mine


class _Heart(threading.Thread):
    """Writes signs of life; interrupts the main thread if somebody took the sweep over."""

    def __init__(self, store: Storage, lease: Lease, seconds: float) -> None:
        super().__init__(name="lease", daemon=True)
        self._store, self._lease, self._seconds = store, lease, seconds
        self._ended = threading.Event()
        self.taken_by: Lease | None = None

    def run(self) -> None:
        while not self._ended.wait(self._seconds):
            with contextlib.suppress(OSError, RunError):  # storage that is away; work that needs it will say so
                self.taken_by = self._other()
                if self.taken_by:
                    signal.pthread_kill(threading.main_thread().ident or 0, TAKEN_OVER)
                    return
                self._lease = replace(self._lease, beat=self._lease.beat + 1)
                _write(self._store, self._lease)

    def _other(self) -> Lease | None:
        found = _read(self._store)
        return found if found and found.owner != self._lease.owner else None

    def end(self) -> None:
        """Stop, and free the sweep if it is still ours."""
        self._ended.set()
        self.join()
        with contextlib.suppress(OSError, RunError):
            if not self._other():
                _write(self._store, replace(self._lease, ended=True))


def _read(store: Storage) -> Lease | None:
    """Return the last driver; none where the file is damaged: only a faulty disk leaves it so."""
    if not store.exists(LEASE_FILE):
        return None
    try:
        lease: Lease = read_json(Lease, store.read(LEASE_FILE), LEASE_FILE)
    except InputError:
        return None
    return lease


def _write(store: Storage, lease: Lease) -> None:
    store.write(LEASE_FILE, to_json(lease).encode())


def _new_lease() -> Lease:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Lease(uuid.uuid4().hex, socket.gethostname(), _machine(), os.getpid(), _ray_job(), now)


def _machine() -> str:
    """Return what tells apart machines, their boots, and containers with process tables of their own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _ray_job() -> str:
    """Return the name under which `ray job submit` started this process, if it did."""
    try:
        described = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
        return str(described["metadata"]["job_submission_id"])
    except (ValueError, LookupError, TypeError):
        return ""
