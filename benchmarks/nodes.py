"""Runs sweeps over real separate nodes, network namespaces of this machine, and takes nodes and links away.

    python -m benchmarks.nodes --json        (root; `ip` is needed)

A head for drivers, two training nodes and a device node, each with an address of its own. The undisturbed sweep is
compared with one in which a training node is killed in mid-search and comes back, and the device's link goes down
during a measurement and up again. A third sweep with `workers: {min: 1, max: 2}` loses a training node for good.
Why here: what one address hides (who listens where, who notices a dead link) shows only between addresses.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any

import yaml

from benchmarks.chaos import fingerprint, registered
from benchmarks.clusters import RAY, Processes, clean_environment, family, kill, probe, wait_for
from orchestrator.data.storage import Storage
from orchestrator.plan.trials import STARTS_FOLDER, WARMUP_KEY
from orchestrator.trial.records import starts_of

NODES = ("head", "train1", "train2", "device")
HEAD = "10.77.0.1:6379"
LINK_DOWN_SECONDS = 45.0
"""Longer than Ray takes to give a silent node up."""

DEVICE_PROGRAM = """
import os, sys, time
with open({log!r}, "a") as log:
    log.write("measured\\n")
time.sleep(0.05)
print(os.path.getsize(sys.argv[1]) / 1e5)
"""
"""Stands for a board: the same model takes the same time, so that every sweep decides alike."""


class Network:
    """Namespaces on a bridge, one per node."""

    def __init__(self) -> None:
        self.bridge = f"op{os.getpid()}"

    def namespace(self, node: str) -> str:
        """Return the name of a node's namespace."""
        return f"{self.bridge}-{node}"

    def inside(self, node: str) -> list[str]:
        """Return what goes before a command to run it on a node."""
        return ["ip", "netns", "exec", self.namespace(node)]

    def link(self, node: str, state: str) -> None:
        """Take a node's link `up` or `down`."""
        _ip("-n", self.namespace(node), "link", "set", "e0", state)

    @contextmanager
    def open(self) -> Iterator["Network"]:
        """Make the bridge and the namespaces for the time of the block."""
        try:
            _ip("link", "add", self.bridge, "type", "bridge")
            _ip("link", "set", self.bridge, "up")
            for number, node in enumerate(NODES, 1):
                name, end = self.namespace(node), f"{self.bridge}v{number}"
                _ip("netns", "add", name)
                _ip("link", "add", end, "type", "veth", "peer", "name", "e0", "netns", name)
                _ip("link", "set", end, "master", self.bridge, "up")
                _ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "e0")
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", "e0", "up")
            yield self
        finally:
            for node in NODES:
                subprocess.run(["ip", "netns", "del", self.namespace(node)], check=False)
            subprocess.run(["ip", "link", "del", self.bridge], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Cluster:
    """The four nodes."""

    def __init__(self, folder: Path, network: Network, processes: Processes) -> None:
        self.folder, self.network, self.processes = folder, network, processes
        timeouts = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "40"}
        self.environment = clean_environment({"GLOO_SOCKET_IFNAME": "e0", **timeouts})
        self.client = {**self.environment, "RAY_ADDRESS": HEAD}
        self.log, self.target = folder / "measured.log", folder / "board.yaml"
        program = folder / "board.py"
        program.write_text(DEVICE_PROGRAM.format(log=str(self.log)))
        self.log.touch()
        options = {"command": [sys.executable, str(program), "{model}"], "runs": 1}
        self.target.write_text(yaml.safe_dump({"name": "board", "runtime": "command", "options": options}))
        head = f"start --head --port 6379 --num-cpus 0 --include-dashboard false --temp-dir {folder / 'ray'}"
        self.nodes = {"head": self._node("head", head)}
        wait_for("the head answers", self.alive, 180)
        for count, node in enumerate(("train1", "train2"), 2):
            self.add_training(node)
            # One after the other: nodes of one machine share a folder for sockets, whatever their addresses are.
            wait_for(node, partial(self.num_alive_is, count), 180)
        serve = [sys.executable, "-m", "orchestrator.cli.main", "device", "serve", "--target", str(self.target)]
        serve += ["--address", HEAD, "--node-ip", "10.77.0.4"]
        command = [*network.inside("device"), *serve]
        self.nodes["device"] = self.processes.start(command, self.environment, "device.log")
        wait_for("four nodes", partial(self.num_alive_is, 4), 180)

    def _node(self, node: str, words: str) -> "Popen[bytes]":
        address = f"--node-ip-address 10.77.0.{NODES.index(node) + 1}"
        common = "--object-store-memory 104857600 --disable-usage-stats --block"
        command = [*self.network.inside(node), RAY, *f"{words} {address} {common}".split()]
        return self.processes.start(command, self.environment, f"{node}.log")

    def add_training(self, node: str) -> None:
        """Start a training node."""
        self.nodes[node] = self._node(node, f'start --address {HEAD} --num-cpus 1 --resources {{"train":1}}')

    def remove(self, node: str) -> None:
        """Kill a node with all its processes, as if its power were cut."""
        for process in family(self.nodes[node].pid):
            kill(process)

    def alive(self) -> list[Any]:
        """Return the resources of the nodes that live."""
        found = probe(self.client, self.network.inside("head"))
        return found["nodes"] if found else []

    def num_alive_is(self, count: int) -> bool:
        """Say whether so many nodes live."""
        return len(self.alive()) == count

    def sweep(self, name: str, workers: dict[str, Any]) -> "Popen[bytes]":
        """Start a sweep's driver on the head."""
        config = yaml.safe_load(Path(__file__).with_name("small_sweep.yaml").read_text())
        config |= {"targets": [str(self.target)], "workers": workers}
        config["measure"] = {"table_seconds": 4, "network_seconds": 4, "wait_minutes": 5}
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "orchestrator.cli.main", "sweep", str(file), "--name", name]
        command += ["--storage", str(self.folder / "runs")]
        return self.processes.start([*self.network.inside("head"), *command], self.client, f"{name}.log")

    def measurements(self) -> int:
        """Return how often the board was asked."""
        return len(self.log.read_text().splitlines())

    def reached(self, name: str, run: str, step: int) -> bool:
        """Whether a Train run of a sweep has a registered checkpoint at or after a step of its search."""
        return registered(self.folder / "runs" / name).get(run, ("", 0)) >= ("search", step)


def finish(cluster: Cluster, name: str, driver: "Popen[bytes]") -> None:
    """Wait for a sweep to end well."""
    if driver.wait(timeout=900) != 0:
        sys.exit((cluster.folder / f"{name}.log").read_text()[-3000:])


def ranks(cluster: Cluster, name: str) -> list[int]:
    """Return the number of ranks at every start of a sweep's Train runs."""
    store = Storage(str(cluster.folder / "runs" / name))
    keys = sorted((file.removesuffix(".json") for file in store.child(STARTS_FOLDER).names()), key=WARMUP_KEY.__ne__)
    return [start.num_ranks for key in keys for start in starts_of(store, key)]


def disturb(cluster: Cluster, trial: str) -> None:
    """Run the disturbed sweep: a training node dies in mid-search, then the device's link fails in mid-measurement."""
    driver = cluster.sweep("disturbed", FIXED)
    wait_for("the search", lambda: cluster.reached("disturbed", trial, 20) or driver.poll() is not None, 400)
    cluster.remove("train2")
    _say("killed train2 in mid-search")
    wait_for("the death is noticed", lambda: len(cluster.alive()) == 3, 120)
    cluster.add_training("train2")
    before = cluster.measurements()
    wait_for("a measurement", lambda: cluster.measurements() > before or driver.poll() is not None, 400)
    cluster.network.link("device", "down")
    _say("device link down in mid-measurement")
    time.sleep(LINK_DOWN_SECONDS)
    cluster.network.link("device", "up")
    _say("device link up")
    finish(cluster, "disturbed", driver)


FIXED = {"min": 2, "max": 2, "resources": {"train": 1}}
ELASTIC = {"min": 1, "max": 2, "resources": {"train": 1}}
TRIAL = "board-f0.4"


def run(folder: Path) -> dict[str, Any]:
    """Run the three sweeps and return what came out."""
    begin = time.monotonic()
    with Network().open() as network, Processes(folder) as processes:
        cluster = Cluster(folder, network, processes)
        _say(f"4 nodes up after {time.monotonic() - begin:.0f} s")
        finish(cluster, "undisturbed", cluster.sweep("undisturbed", FIXED))
        _say(f"undisturbed after {time.monotonic() - begin:.0f} s")
        disturb(cluster, TRIAL)
        driver = cluster.sweep("elastic", ELASTIC)
        wait_for("the search", lambda: cluster.reached("elastic", TRIAL, 20) or driver.poll() is not None, 400)
        cluster.remove("train2")
        _say("killed train2 for good")
        finish(cluster, "elastic", driver)
    prints = {name: fingerprint(folder / "runs" / name) for name in ("undisturbed", "disturbed")}
    counts = {name: ranks(cluster, name) for name in ("undisturbed", "disturbed", "elastic")}
    identical = prints["undisturbed"] == prints["disturbed"]
    return {
        "fingerprints": prints,
        "ranks_at_each_start": counts,
        "good": identical and len(counts["disturbed"]) > len(counts["undisturbed"]) and counts["elastic"][-1] == 1,
        "seconds": round(time.monotonic() - begin, 1),
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="work here and keep it (a short path: sockets live below it)")
    parser.add_argument("--json", action="store_true", help="print the report as one line")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nodes-", ignore_cleanup_errors=True) as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = run(folder)
    print(json.dumps(report, indent=None if asked.json else 1))
    sys.exit(0 if report["good"] else 1)


if __name__ == "__main__":
    main()
