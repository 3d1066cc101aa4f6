"""Kills random workers and the driver of small sweeps at random moments; every sweep must end as if undisturbed.

    python -m benchmarks.chaos --kills 50

Why here: "nothing is lost" is a claim about moments that no test thinks of. Exits with 1 if a sweep ends in another
architecture, alpha or weights, goes on before its last registered checkpoint, or leaves a process or placement group.
"""

import argparse
import hashlib
import json
import random
import re
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import Popen

import psutil

from benchmarks.clusters import LOOPBACK, RAY, Processes, clean_environment, free_port, kill, probe, wait_for, workers
from orchestrator.cluster.leftovers import GUARD

CONFIG = Path(__file__).with_name("small_sweep.yaml")
DRIVER_SHARE = 0.3
"""Of the kills; the others hit ranks, controllers and trial functions."""

RANK_SHARE = 0.6
"""Of the others; a rank is waited for where there is none at the moment."""

Position = tuple[str, int]
"""Phase and step of a Train run; phases are in order of their names (search, train)."""


@dataclass
class Report:
    """What was done and what came out."""

    kills: dict[str, int] = field(default_factory=dict)
    sweeps: int = 0
    undisturbed: str = ""
    differing: list[str] = field(default_factory=list)
    lost_steps: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing was lost and nothing left."""
        return not (self.differing or self.lost_steps or self.leftovers)


class Cluster:
    """One head on loopback with two processors, on which the sweeps are drivers."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder, self.processes, port = folder, processes, free_port()
        environment = clean_environment(LOOPBACK)
        self.client = {**environment, "RAY_ADDRESS": f"127.0.0.1:{port}"}
        command = f"{RAY} start --head --block --port {port} --num-cpus 2 --object-store-memory 157286400"
        # With the dashboard, as clusters have it: Ray's guards of killed controllers end only where they can ask it.
        command += f" --dashboard-port {free_port()} --disable-usage-stats --temp-dir {folder / 'ray'}"
        self.head = self.processes.start(command.split(), environment, "head.log")
        wait_for("the head answers", lambda: probe(self.client), 180)

    def sweep(self, name: str) -> "Popen[bytes]":
        """Start the driver of a sweep, or continue it."""
        command = [sys.executable, "-m", "orchestrator.cli.main", "sweep", str(CONFIG), "--name", name]
        return self.processes.start([*command, "--storage", str(self.folder / "runs")], self.client, f"{name}.log")

    def leftovers(self, *, ended: bool) -> list[str]:
        """Return what a sweep left behind once it had a minute to end.

        Placement groups and Ray's guards count where it has ended: those of a killed driver are freed by the next one.
        """
        deadline = time.monotonic() + 60
        while True:
            groups = (probe(self.client) or {"groups": ["?"]})["groups"] if ended else []
            left = [*workers(self.head.pid).values(), *(f"placement group {state}" for state in groups)]
            left = [item for item in left if ended or GUARD not in item]
            if not left or time.monotonic() > deadline:
                return left


def fingerprint(folder: Path) -> str:
    """Return a hash of the architecture, alpha, final weights and accuracies of a finished sweep."""
    digest = hashlib.sha256()
    for trial in sorted((folder / "trials").iterdir()):
        for name in ("architecture.json", "search.json", "weights.safetensors", "outcome.json"):
            digest.update((trial / name).read_bytes())
    return digest.hexdigest()[:16]


def registered(folder: Path) -> dict[str, Position]:
    """Return the last registered checkpoint of every Train run of a sweep."""
    found = {}
    for file in folder.glob("train/*/checkpoint_manager_snapshot.json"):
        names = re.findall(r"(search|train)-(\d+)", file.read_text())
        if names:
            found[file.parent.name] = max((phase, int(step)) for phase, step in names)
    return found


def starts(folder: Path, key: str) -> list[Position]:
    """Return where the workers of a run began, in order of time."""
    file = folder / "starts" / f"{key}.json"
    return [(s["phase"], s["step"]) for s in json.loads(file.read_text())["starts"]] if file.exists() else []


def disturb(cluster: Cluster, name: str, rng: random.Random, left: int, report: Report) -> int:
    """Run one sweep to its end and kill something of it at random moments; return the number of kills."""
    folder, kills = cluster.folder / "runs" / name, 0
    driver = cluster.sweep(name)
    while driver.poll() is None:
        pause = time.monotonic() + rng.uniform(1.0, 12.0)
        while driver.poll() is None and time.monotonic() < pause:
            time.sleep(0.05)
        if driver.poll() is not None or kills >= left:
            continue
        before = registered(folder)
        counts = {key: len(starts(folder, key)) for key in before}
        kind = _strike(cluster, driver, rng)
        if not kind:
            continue
        kills += 1
        report.kills[kind] = report.kills.get(kind, 0) + 1
        _say(f"{name}: killed {kind}, checkpoints {before}")
        if kind == "driver":
            driver.wait()
            report.leftovers += [f"{name} after its driver: {item}" for item in cluster.leftovers(ended=False)]
            driver = cluster.sweep(name)
        if before and kind in ("driver", "RayTrainWorker", "TrainController"):
            _check_start(folder, driver, before, counts, report)
    if driver.returncode != 0:
        _say(f"{name}: exit {driver.returncode}")
        report.differing.append(f"{name}: exit {driver.returncode}, see {name}.log")
    return kills


def _strike(cluster: Cluster, driver: "Popen[bytes]", rng: random.Random) -> str:
    """Kill the driver or one process of its sweep; return which kind, or nothing."""
    if rng.random() < DRIVER_SHARE:
        return "driver" if kill(psutil.Process(driver.pid)) else ""
    found = workers(cluster.head.pid)
    if not found:
        return ""
    if rng.random() < RANK_SHARE:
        found = {process: title for process, title in found.items() if "TrainWorker" in title}
        if not found:
            return ""
    process, title = rng.choice(list(found.items()))
    return re.sub(r"\W*(\w+).*", r"\1", title.removeprefix("ray::")) if kill(process) else ""


def _check_start(
    folder: Path, driver: "Popen[bytes]", before: dict[str, Position], counts: dict[str, int], report: Report
) -> None:
    """Wait for the next start of a run that was in progress; it must not lie before its registered checkpoint."""
    deadline = time.monotonic() + 60
    while driver.poll() is None and time.monotonic() < deadline:
        for key, last in before.items():
            new = starts(folder, key)[counts[key] :]
            if new:
                if new[0] < last:
                    report.lost_steps.append(f"{folder.name}, {key}: went on at {new[0]}, registered {last}")
                return
        time.sleep(0.2)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(kills: int, seed: int, folder: Path) -> Report:
    """Disturb sweeps until so many kills are done."""
    begin, rng, report = time.monotonic(), random.Random(seed), Report()
    folder.mkdir(parents=True, exist_ok=True)
    with Processes(folder) as processes:
        cluster = Cluster(folder, processes)
        if cluster.sweep("undisturbed").wait(timeout=900) != 0:
            sys.exit((folder / "undisturbed.log").read_text())
        report.undisturbed = fingerprint(folder / "runs" / "undisturbed")
        _say(f"undisturbed: {report.undisturbed} after {time.monotonic() - begin:.0f} s")
        done = 0
        while done < kills:
            name = f"disturbed-{report.sweeps}"
            done += disturb(cluster, name, rng, kills - done, report)
            report.sweeps += 1
            if not any(text.startswith(name) for text in report.differing):
                found = fingerprint(folder / "runs" / name)
                _say(f"{name}: {found}, undisturbed {report.undisturbed}; {done} kills so far")
                report.differing += [f"{name}: {found}"] if found != report.undisturbed else []
            report.leftovers += [f"{name} at its end: {item}" for item in cluster.leftovers(ended=True)]
    report.seconds = round(time.monotonic() - begin, 1)
    return report


def main() -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="work here and keep it (a short path: sockets live below it)")
    parser.add_argument("--json", action="store_true", help="print the report as one line")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as temporary:
        report = run(asked.kills, asked.seed, asked.folder or Path(temporary))
    print(json.dumps({**asdict(report), "good": report.good}, indent=None if asked.json else 1))
    sys.exit(0 if report.good else 1)


if __name__ == "__main__":
    main()
