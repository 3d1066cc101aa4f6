"""Starting or joining Ray: one place for its addresses, its security and its silence.

Why here: Ray reads its settings when it is imported, and head, nodes, drivers and jobs must agree on them.
Import this module, call `connect`, and only then import ray elsewhere. It knows nothing of searches.
"""

import contextlib
import logging
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from supernet.errors import RunError

DRIVER_RESOURCE = "driver"
"""Custom resource of the head: light driver functions live there and take no CPU from training."""


def target_resource(target: str) -> str:
    """Return the Ray resource that a node announces when it can measure a target."""
    return f"target:{target}"


@dataclass(frozen=True)
class Connection:
    """A Ray session that is up.

    Attributes:
        embedded: Whether this process started it (and ends it), rather than joined it.
        address: Address of the cluster's control store.
    """

    embedded: bool
    address: str


def prepare_environment(*, embedded: bool) -> None:
    """Set Ray's environment before its import: quiet, no usage statistics, token authentication on purpose.

    An embedded cluster gets a token of its own that lives as long as this process; a joined one takes the
    mode and token that `RAY_AUTH_MODE` and `RAY_AUTH_TOKEN[_PATH]` name, token mode where nothing is said.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if embedded and os.environ["RAY_AUTH_MODE"] == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "1",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
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
    prepare_environment(embedded=not address)
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        options |= {
            "address": "local",
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
            "num_cpus": max(min_cpus, len(os.sched_getaffinity(0))),
            "object_store_memory": 256 * 2**20,
            "resources": {DRIVER_RESOURCE: 1000, **{target_resource(target): 1 for target in targets}},
        }
    try:
        context = ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        what = f"join the Ray cluster at {address}" if address else "start Ray on this machine"
        raise RunError(f"cannot {what}: {error}") from error
    _quieten()
    try:
        yield Connection(embedded=not address, address=context.address_info["address"])
    finally:
        ray.shutdown()


def _quieten() -> None:
    for name in ("ray", "ray.train", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
