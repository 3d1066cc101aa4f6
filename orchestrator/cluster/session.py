"""Starting or joining Ray: one place for its addresses, its security and its silence.

Why here: Ray reads its settings when it is imported, and head, nodes, drivers and jobs must agree on them.
Import this module, call `connect`, and only then import ray elsewhere. It knows nothing of searches.
"""

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.errors import InputError, RunError

HEAD_RESOURCE = "node:__internal_head__"
"""Resource that Ray gives to the head alone: what starts and watches training lives there."""

DEVICE_RESOURCE = "device"
"""Resource that a measuring node has once, however many targets it announces: one measurement at a time."""


def target_resource(target: str) -> str:
    """Return the Ray resource that a node announces when it can measure a target."""
    return f"target:{target}"


@dataclass(frozen=True)
class Connection:
    """A Ray session that is up.

    Attributes:
        embedded: Whether this process started it (and ends it), rather than joined it.
        address: Address of the cluster's control store.
        session: Name of the cluster's session, another one each time that its head starts.
    """

    embedded: bool
    address: str
    session: str


def target_resources(targets: Iterable[str]) -> dict[str, float]:
    """Return all resources of a node that measures targets, one after the other."""
    return {DEVICE_RESOURCE: 1, **{target_resource(target): 1 for target in targets}}


def announced(targets: Iterable[str]) -> list[str]:
    """Return those targets that some living node of the cluster measures, busy or not."""
    import ray

    resources = ray.cluster_resources()
    return [target for target in targets if target_resource(target) in resources]


def living_nodes() -> list[dict[str, float]]:
    """Return the resources of the cluster's nodes that live, busy or not."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def require_shared(storage: str) -> None:
    """Refuse storage that the machines of a cluster cannot share.

    Raises:
        InputError: If a cluster is joined and the path is relative: a job's folder is a copy that goes away with it.
    """
    joined = os.environ.get("RAY_ADDRESS")
    if joined and "://" not in storage and not Path(storage).expanduser().is_absolute():
        raise InputError(
            f"storage: {storage!r} is relative, and this sweep joins the cluster at {joined}; give an absolute path "
            "that all its machines see, or an object store (storage: in the configuration, or --storage)"
        )


def require_reachable(address: str) -> None:
    """Refuse an address where nothing listens: Ray would wait for it for minutes, without a word.

    Raises:
        RunError: If it cannot be reached within ten seconds.
    """
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdigit():
        return  # `auto`, say: Ray knows where to look
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise RunError(
            f"RAY_ADDRESS: cannot join the Ray cluster at {address}: {error}; give host and port of a head that runs, "
            "or unset it to start Ray on this machine"
        ) from error


# Read by Ray when it is imported. Despite its name it means, on every system: bind to loopback, admit no node.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "GLOO_SOCKET_IFNAME": "lo"}


def prepare_environment(*, embedded: bool) -> None:
    """Set Ray's environment before its import: quiet, no usage statistics, token authentication on purpose.

    An embedded cluster listens on loopback alone and gets a token of its own that lives as long as this
    process; a joined one takes the mode and token that `RAY_AUTH_MODE` and `RAY_AUTH_TOKEN[_PATH]` name, token
    mode where nothing is said.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if embedded:
        if os.environ["RAY_AUTH_MODE"] == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ.update(LOOPBACK_ONLY if sys.platform == "linux" else {})
        # Processes that measured stay for the next measurement: they would spend seconds on imports again.
        os.environ.setdefault("RAY_num_workers_soft_limit", "16")
        # Ray would put workers, also those that measure, behind everything else that runs on the machine.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # It would watch for nodes that are about to be taken away, in a process of its own for each run.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "1",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "PYTHONWARNINGS": "ignore",
    }.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def connect(targets: list[str], *, min_cpus: int = 1) -> Iterator[Connection]:
    """Join the cluster of `RAY_ADDRESS`, or start one on loopback for the time of the block.

    Args:
        targets: Targets that this machine measures itself, where the cluster is embedded.
        min_cpus: CPUs that the embedded cluster must offer, even where the machine has fewer.

    Raises:
        RunError: If the cluster cannot be joined or started.
    """
    address = os.environ.get("RAY_ADDRESS")
    assert "ray" not in sys.modules or "RAY_AUTH_MODE" in os.environ, "ray was imported before its environment was set"
    if address:
        require_reachable(address)
    prepare_environment(embedded=not address)
    import ray

    keep_signals = signals_kept()
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        options |= {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": max(min_cpus, len(os.sched_getaffinity(0))),
            "object_store_memory": 256 * 2**20,
            "resources": target_resources(targets),
        }
    try:
        context = ray.init(**options)
    except Exception as error:  # of many kinds, a bare one too: where its node does not start within half a minute
        if address:
            raise RunError(f"cannot join the Ray cluster at {address}: {str(error).strip()}") from error
        raise RunError(f"cannot start Ray on this machine: {error} The same command tries again") from error
    try:
        keep_signals()
        _quieten()
        about = context.address_info
        yield Connection(embedded=not address, address=about["address"], session=Path(about["session_dir"]).name)
    finally:
        with _threads:
            ray.shutdown()


_threads = threading.Lock()


@contextlib.contextmanager
def ray_for_threads() -> Iterator[bool]:
    """Let a thread beside the main one use Ray: it stays up as long as the block, or is over.

    Yields:
        Whether Ray is up.
    """
    import ray

    with _threads:
        yield ray.is_initialized()


def signals_kept() -> Callable[[], None]:
    """Return what puts back the handlers of now, for Ray replaces them.

    Its own for SIGTERM aborts a driver with a dump of its stacks, and that of Ray Train for SIGINT keeps the controller
    of a failed run alive, with all its resources.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def put_back() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    return put_back


def _quieten() -> None:
    for name in ("ray", "ray.train", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
