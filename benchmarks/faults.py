"""What can befall a sweep: processes killed or asked to end, a full disk, a registry that is away, a damaged file.

Why here: each fault knows how to happen and how to end; when, how often and what must come of it stands in `chaos`.
"""

import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any, Protocol

import psutil

from benchmarks.clusters import Processes, free_port, kill, wait_for, workers

DRIVER_SHARE = 0.3
"""Of the kills; the others hit ranks, controllers and trial functions."""

RANK_SHARE = 0.6
"""Of the others; a rank is waited for where there is none at the moment."""

DISK_MIB = 512


@dataclass
class Scene:
    """What a fault can reach.

    Attributes:
        head_pid: Above all Ray workers.
        driver: Of the sweep.
        folder: Of the sweep.
        disk: Mount point of the storage, None where it could not be mounted.
        registry: The registry's server, None where there is none.
        damaged: Damaged files with what they held.
    """

    head_pid: int
    driver: "Popen[bytes]"
    folder: Path
    disk: Path | None
    registry: "Registry | None"
    damaged: dict[Path, bytes] = field(default_factory=dict)


class Fault(Protocol):
    """One kind of fault."""

    def __call__(self, scene: Scene, rng: random.Random) -> str:
        """Let it happen, and end where it does; return what it was, or nothing if there was nothing to hit."""
        ...


def killed(scene: Scene, rng: random.Random) -> str:
    """Kill the driver or one process of its sweep."""
    if rng.random() < DRIVER_SHARE:
        return "driver" if kill(psutil.Process(scene.driver.pid)) else ""
    found = workers(scene.head_pid)
    if not found:
        return ""
    if rng.random() < RANK_SHARE:
        found = {process: title for process, title in found.items() if "TrainWorker" in title}
        if not found:
            return ""
    process, title = rng.choice(list(found.items()))
    return re.sub(r"\W*(\w+).*", r"\1", title.removeprefix("ray::")) if kill(process) else ""


def terminated(scene: Scene, rng: random.Random) -> str:
    """Ask the driver to end, as systemd, Slurm and container engines do."""
    scene.driver.send_signal(signal.SIGTERM)
    return "SIGTERM"


def disk_full(scene: Scene, rng: random.Random) -> str:
    """Leave no byte free for some seconds."""
    if scene.disk is None:
        return ""
    filler = scene.disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    _pause(scene, rng.uniform(1.0, 20.0))
    filler.unlink()
    return "full disk"


def registry_away(scene: Scene, rng: random.Random) -> str:
    """End the registry's server, and start it again."""
    if scene.registry is None:
        return ""
    scene.registry.stop()
    _pause(scene, rng.uniform(1.0, 30.0))
    scene.registry.start()
    return "registry away"


def file_damaged(scene: Scene, rng: random.Random) -> str:
    """Cut, empty or flip a bit of one file of the sweep."""
    files = [file for file in sorted(scene.folder.rglob("*")) if file.is_file() and file.stat().st_size]
    # Ray's own record of its experiments is never read again, and the driver's note of itself is written all the time.
    files = [file for file in files if file.relative_to(scene.folder).parts[0] not in ("ray", "driver.json")]
    if not files:
        return ""
    file = rng.choice(files)
    try:
        content = file.read_bytes()
        place, how = rng.randrange(len(content)), rng.choice(("cut", "emptied", "flipped"))
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        file.write_bytes({"cut": content[:place], "emptied": b"", "flipped": bytes(flipped)}[how])
    except (FileNotFoundError, ValueError):
        return ""
    scene.damaged.setdefault(file, content)
    return f"damage {how} {file.relative_to(scene.folder)}"


def _pause(scene: Scene, seconds: float) -> None:
    end = time.monotonic() + seconds
    while scene.driver.poll() is None and time.monotonic() < end:
        time.sleep(0.1)


FAULTS: dict[str, tuple[Fault, float]] = {
    "kill": (killed, 0.4),
    "term": (terminated, 0.1),
    "disk": (disk_full, 0.15),
    "registry": (registry_away, 0.1),
    "damage": (file_damaged, 0.25),
}
"""By name: what happens, and its share of all faults."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small file system in memory for the time of the block; None where this process may not."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "onepath-chaos", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


class Registry:
    """An MLflow server of its own on loopback."""

    def __init__(self, folder: Path, processes: Processes, environment: dict[str, str]) -> None:
        self.port, self._folder, self._processes = free_port(), folder, processes
        self._environment = {**environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"}
        self._process: Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command: list[Any] = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", self.port]
        command += ["--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}", "--workers", 1]
        command += ["--artifacts-destination", self._folder / "artifacts"]
        self._process = self._processes.start([str(word) for word in command], self._environment, "registry.log")
        wait_for("the registry answers", self._answers, 240)

    def stop(self) -> None:
        """Kill the server with all its processes."""
        if self._process:
            for process in [psutil.Process(self._process.pid)]:
                for member in [*process.children(recursive=True), process]:
                    kill(member)
            self._process.wait()

    def _answers(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0
