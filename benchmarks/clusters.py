"""Ray clusters of a benchmark's own on this machine: started, watched and ended by process id.

Why here: chaos, node and job benchmarks need real heads and nodes, and must leave nothing behind.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

RAY = str(Path(sys.executable).with_name("ray"))
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "GLOO_SOCKET_IFNAME": "lo"}
RESTING = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
SYSTEM_ACTORS = ("AutoscalingCoordinator", "StateActor", "JobSupervisor")


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for every process of a cluster: one new token, nothing inherited of another Ray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **kept,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        **extra,
    }


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probed:
        probed.bind(("127.0.0.1", 0))
        port: int = probed.getsockname()[1]
    return port


class Processes:
    """Processes that a benchmark started, each the leader of its own group, their output in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Processes":
        """Return this."""
        return self

    def __exit__(self, *error: object) -> None:
        """End what was started, also where starting went wrong halfway."""
        self.end_all()

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: str) -> "subprocess.Popen[bytes]":
        """Start a command."""
        with open(self.folder / log, "ab") as file:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def end_all(self) -> None:
        """Terminate what still runs, then kill what is left of it and of its children."""
        members = [member for process in self.running for member in family(process.pid)]
        for process in self.running:
            if process.poll() is None:
                process.terminate()
        psutil.wait_procs(members, timeout=15)
        for member in members:
            kill(member)


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(process: psutil.Process) -> bool:
    """Send SIGKILL; return whether the process was there."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def workers(node_pid: int) -> dict[psutil.Process, str]:
    """Return the Ray workers below a node's process that run something of a sweep, with their titles."""
    found = {}
    for process in family(node_pid):
        try:
            title = " ".join(process.cmdline()).strip()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if title.startswith("ray::") and not title.startswith(RESTING) and not any(s in title for s in SYSTEM_ACTORS):
            found[process] = title
    return found


def wait_for(what: str, condition: Callable[[], Any], seconds: float) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: If it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.5)


PROBE = """
import json, os
import ray
ray.init(address=os.environ["RAY_ADDRESS"], logging_level="ERROR", log_to_driver=False)
groups = [group["state"] for group in ray.util.placement_group_table().values()]
nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
print(json.dumps({"groups": [s for s in groups if s != "REMOVED"], "nodes": nodes}))
"""


def probe(environment: Mapping[str, str], prefix: Sequence[str] = ()) -> dict[str, list[Any]] | None:
    """Return the placement groups and the resources of the nodes that live, or None if the cluster does not answer."""
    command = [*prefix, sys.executable, "-c", PROBE]
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=90, check=False)
        found: dict[str, list[Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, json.JSONDecodeError, IndexError):
        return None
    return found
