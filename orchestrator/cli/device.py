"""`onepath device`: lets a machine measure for a cluster. Joins it as a Ray node and stays; measures nothing itself.

Why here: what a measuring node must announce, and that it shares the cluster's token, is said once.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from supernet.errors import InputError, RunError

app = typer.Typer(help="Machines that measure for a cluster.", no_args_is_help=True)

REJOIN_SECONDS = 5.0
ANSWER_SECONDS = 10.0


@app.callback()
def _device() -> None:
    """Machines that measure for a cluster."""


@app.command()
def serve(
    target: Annotated[list[str], typer.Option(help="What this machine measures: preset or YAML file; repeatable.")],
    address: Annotated[str | None, typer.Option(help="HEAD:PORT of the cluster; by default $RAY_ADDRESS.")] = None,
    cpus: Annotated[int, typer.Option(min=0, help="Processors offered to training; they disturb measurements.")] = 0,
    node_ip: Annotated[str | None, typer.Option(help="Address of this machine, where it has several.")] = None,
    ray_folder: Annotated[
        Path | None, typer.Option(envvar="ONEPATH_RAY_FOLDER", help="Of this node, where others share the machine.")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the command line for Ray; start nothing.")] = False,
) -> None:
    """Join a cluster as the machine of some targets, measure one network at a time, rejoin when cut off."""
    from latency.measuring.job import require_runnable
    from latency.target import load_target

    targets = [load_target(name) for name in target]
    counted = [found.name for found in targets if not found.measured]
    if counted:
        raise InputError(f"target {counted[0]}: it is counted or published; no machine has to measure it")
    for found in targets:
        require_runnable(found)
    where = address or os.environ.get("RAY_ADDRESS")
    if not where:
        raise InputError("device serve: no cluster; give --address HEAD:PORT or set RAY_ADDRESS")
    host, port = host_and_port(where)
    command = node_command(where, [found.name for found in targets], cpus, node_ip, ray_folder)
    environment = node_environment(os.environ)
    if show:
        said = {name: environment[name] for name in node_environment({})}
        print(" ".join([*(f"{name}={value}" for name, value in said.items()), shlex.join(["ray", *command[1:]])]))
        return
    require_head(host, port)
    _stay(command, environment)


def host_and_port(address: str) -> tuple[str, int]:
    """Return the two parts of HEAD:PORT.

    Raises:
        InputError: If it has another form, such as `auto` or `ray://...`, which drivers take and nodes do not.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"device serve: address {address!r}; give that of the cluster's head as HEAD:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def require_head(host: str, port: int) -> None:
    """Try the head once: Ray would try for ever, without a word. A head that goes away later is waited for.

    Raises:
        RunError: If nothing answers there.
    """
    try:
        socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise RunError(
            f"device serve: no head answers at {host}:{port} ({error.strerror or error}); start the cluster's head "
            "first (`ray start --head`), or correct --address"
        ) from error


def node_command(
    address: str, targets: Sequence[str], cpus: int, node_ip: str | None = None, ray_folder: Path | None = None
) -> list[str]:
    """Return the command that joins a cluster as a node measuring targets, and runs until it is cut off."""
    import json

    from orchestrator.cluster.session import target_resources

    command = [str(Path(sys.executable).with_name("ray")), "start", "--address", address, "--num-cpus", str(cpus)]
    command += ["--resources", json.dumps(target_resources(targets))]
    if node_ip:
        command += ["--node-ip-address", node_ip]
    if ray_folder:
        command += ["--temp-dir", str(ray_folder.absolute())]
    return [*command, "--disable-usage-stats", "--block"]


def node_environment(environment: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    """Return the environment of a node: token authentication, and measuring at the priority of everything else.

    What the user says otherwise counts.
    """
    return {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", **environment}


def _stay(command: list[str], environment: dict[str, str]) -> None:
    """Run the node; when it ends because the head or the network went away, join again."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the node ends with us
    process = None
    try:
        while True:
            process = subprocess.Popen(command, env=environment)
            code = process.wait()
            print(f"onepath: node ended with code {code}; joining again in {REJOIN_SECONDS:g} s", file=sys.stderr)
            time.sleep(REJOIN_SECONDS)
    finally:
        if process and process.poll() is None:
            process.terminate()
            process.wait(timeout=30)
