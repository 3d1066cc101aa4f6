"""Lets faults befall small sweeps at random moments; every sweep must end as if undisturbed.

    python -m benchmarks.chaos --kills 50                 # workers and drivers killed
    python -m benchmarks.chaos --faults 100 --minutes 90  # also SIGTERM, a full disk (root), no registry, damaged files

Why here: "nothing is lost" is a claim about moments that no test thinks of. Exits with 1 if a sweep ends in another
architecture, alpha or weights, goes on before its last registered checkpoint, ends without a word that helps, or leaves
a process or placement group. With --folder it keeps its report there and goes on from it.
"""

import argparse
import hashlib
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import Popen

import yaml

from benchmarks.clusters import LOOPBACK, RAY, Processes, clean_environment, free_port, probe, wait_for, workers
from benchmarks.faults import FAULTS, Registry, Scene, small_disk
from orchestrator.cluster.leftovers import GUARD
from orchestrator.data.storage import Storage
from orchestrator.trial.records import DamagedFile, starts_of

CONFIG = Path(__file__).with_name("small_sweep.yaml")
MAX_COMMANDS = 12
"""So often the same command is given again for one sweep beyond the faults that ended it."""

HELP = re.compile(r"same command|run the command again|delete|remove|free some|free space|start it", re.IGNORECASE)
"""What a driver says that ends for a fault: the command that mends it, or the file in the way."""

Position = tuple[str, int]
"""Phase and step of a Train run; phases are in order of their names (search, train)."""


@dataclass
class Report:
    """What was done and what came out."""

    faults: dict[str, int] = field(default_factory=dict)
    sweeps: int = 0
    undisturbed: str = ""
    differing: list[str] = field(default_factory=list)
    lost_steps: list[str] = field(default_factory=list)
    helpless: list[str] = field(default_factory=list)
    commands: dict[str, int] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing was lost and nothing left."""
        return not (self.differing or self.lost_steps or self.leftovers or self.helpless)

    @property
    def num_faults(self) -> int:
        """Faults so far."""
        return sum(self.faults.values())


class Cluster:
    """One head on loopback with two processors, on which the sweeps are drivers.

    Args:
        folder: For logs, configuration and, in `runs`, the storage.
        processes: Whose children everything is.
        registry: Address of an MLflow server; empty for the registry beside the sweeps.
    """

    def __init__(self, folder: Path, processes: Processes, registry: str = "") -> None:
        self.config = folder / "sweep.yaml"
        definition = yaml.safe_load(CONFIG.read_text())
        self.config.write_text(yaml.safe_dump({**definition, "mlflow": {"tracking_uri": registry or None}}))
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
        command = [sys.executable, "-m", "orchestrator.cli.main", "sweep", str(self.config), "--name", name]
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
    """Return the last registered checkpoint of every Train run of a sweep; its file may be one that was damaged."""
    found = {}
    for file in folder.glob("train/*/checkpoint_manager_snapshot.json"):
        names = re.findall(r"(search|train)-(\d+)", file.read_text(errors="replace"))
        if names:
            found[file.parent.name] = max((phase, int(step)) for phase, step in names)
    return found


def last_message(said: str) -> str:
    """Return the message that a driver ended with, of several lines or one; else the last line of what it said."""
    begin = f"\n{said}".rfind("\nonepath:")
    return said[begin:].strip() if begin >= 0 and "Traceback" not in said[begin:] else said.strip().rpartition("\n")[2]


def starts(folder: Path, key: str) -> list[Position]:
    """Return where the workers of a run began, in order of time; none where the list is damaged at the moment."""
    try:
        return [(start.phase, start.step) for start in starts_of(Storage(str(folder)), key)]
    except DamagedFile:
        return []


class Sweep:
    """One sweep under faults: its driver is started again until it ends well."""

    def __init__(self, cluster: Cluster, name: str, report: Report, scene: Scene) -> None:
        self.cluster, self.name, self.report, self.scene = cluster, name, report, scene
        self.folder, self.log = cluster.folder / "runs" / name, cluster.folder / f"{name}.log"
        self.num_commands, self.said_before = 1, 0

    def again(self) -> None:
        """Give the same command again."""
        self.num_commands += 1
        self.said_before = len(self.log.read_text())
        self.scene.driver = self.cluster.sweep(self.name)

    def ended(self, fault: str) -> bool:
        """Take note of a driver that ended; return whether the sweep is over."""
        code = self.scene.driver.wait()
        if code == 0:
            return True
        last = last_message(self.log.read_text()[self.said_before :])
        if code not in (-9, 143):
            _say(f"{self.name}: exit {code} after {fault}: {last[-300:]}")
            if not last.startswith("onepath:") or not HELP.search(last):
                self.report.helpless.append(f"{self.name}: exit {code} after {fault}: {last[-300:]}")
            self._remove_named(last)
        if self.num_commands - self.report.num_faults > MAX_COMMANDS:
            self.report.differing.append(f"{self.name}: exit {code} again and again, see {self.name}.log")
            return True
        if code in (-9, 143):
            left = self.cluster.leftovers(ended=False)
            self.report.leftovers += [f"{self.name} after its driver: {item}" for item in left]
        self.again()
        return False

    def _remove_named(self, message: str) -> None:
        """Do what a message about a damaged file says: remove the file that it names."""
        for file in self.scene.damaged:
            if str(file) in message or f"{file.parent.name}/{file.name}" in message:
                file.unlink(missing_ok=True)

    def restore_unread(self) -> None:
        """Put damaged files back that nothing has read or written since: the damage is ours, not the sweep's."""
        for file, content in self.scene.damaged.items():
            if file.exists() and len(file.read_bytes()) <= len(content) and file.read_bytes() != content:
                file.write_bytes(content)


def disturb(sweep: Sweep, rng: random.Random, kinds: Sequence[str], left: int) -> None:
    """Run one sweep to its end; let so many faults befall it at most."""
    scene, report, last = sweep.scene, sweep.report, "nothing"
    shares = [FAULTS[kind][1] for kind in kinds]
    while True:
        pause = time.monotonic() + rng.uniform(1.0, 12.0)
        while scene.driver.poll() is None and (time.monotonic() < pause or left <= 0):
            time.sleep(0.05)
        if scene.driver.poll() is not None:
            if sweep.ended(last):
                return
            continue
        before = registered(sweep.folder)
        counts = {key: len(starts(sweep.folder, key)) for key in before}
        (kind,) = rng.choices(list(kinds), shares)
        what = FAULTS[kind][0](scene, rng)
        if not what:
            continue
        left, last = left - 1, what
        label = what.split(" of ")[0] if kind != "damage" else " ".join(what.split()[:2])
        report.faults[label] = report.faults.get(label, 0) + 1
        _say(f"{sweep.name}: {what}, checkpoints {before}")
        if what in ("driver", "SIGTERM") and sweep.ended(what):
            return
        if before and what in ("driver", "RayTrainWorker", "TrainController"):
            _check_start(sweep, before, counts)


def _check_start(sweep: Sweep, before: dict[str, Position], counts: dict[str, int]) -> None:
    """Wait for the next start of a run that was in progress; it must not lie before its registered checkpoint."""
    deadline = time.monotonic() + 60
    damaged = {file.parent.parent.name for file in sweep.scene.damaged}
    while sweep.scene.driver.poll() is None and time.monotonic() < deadline:
        for key, last in before.items():
            new = starts(sweep.folder, key)[counts[key] :]
            if new:
                if new[0] < last and key not in damaged:
                    sweep.report.lost_steps.append(f"{sweep.name}, {key}: went on at {new[0]}, registered {last}")
                return
        time.sleep(0.2)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Plan:
    """What to do: faults of some kinds, so many, for so long at most."""

    kinds: tuple[str, ...]
    num_faults: int
    seed: int
    minutes: float


def run(plan: Plan, folder: Path) -> Report:
    """Disturb sweeps until all faults have happened or the time is over; go on from a report in the folder."""
    begin, kept = time.monotonic(), folder / "report.json"
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(**json.loads(kept.read_text())) if kept.exists() else Report()
    before = report.seconds
    rng = random.Random(f"{plan.seed}-{report.sweeps}")
    with Processes(folder) as processes, ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "runs")) if "disk" in plan.kinds else None
        registry = None
        if "registry" in plan.kinds:
            registry = Registry(folder / "registry", processes, clean_environment({}))
        cluster = Cluster(folder, processes, registry.uri if registry else "")
        if not report.undisturbed:
            if cluster.sweep("undisturbed").wait(timeout=1800) != 0:
                sys.exit((folder / "undisturbed.log").read_text())
            report.undisturbed = fingerprint(folder / "runs" / "undisturbed")
            _say(f"undisturbed: {report.undisturbed} after {time.monotonic() - begin:.0f} s")
        while report.num_faults < plan.num_faults and time.monotonic() - begin < 60 * plan.minutes:
            _one_sweep(cluster, disk, registry, plan, rng, report)
            report.seconds = round(before + time.monotonic() - begin, 1)
            kept.write_text(json.dumps(asdict(report), indent=1))
    return report


def _one_sweep(
    cluster: Cluster, disk: Path | None, registry: Registry | None, plan: Plan, rng: random.Random, report: Report
) -> None:
    """Disturb one sweep and compare what it ends in."""
    name = f"disturbed-{report.sweeps}"
    folder = cluster.folder / "runs" / name
    scene = Scene(cluster.head.pid, cluster.sweep(name), folder, disk, registry)
    sweep = Sweep(cluster, name, report, scene)
    disturb(sweep, rng, plan.kinds, plan.num_faults - report.num_faults)
    report.sweeps += 1
    report.commands[name] = sweep.num_commands
    sweep.restore_unread()
    if not any(text.startswith(f"{name}:") for text in report.differing):
        found = fingerprint(folder)
        _say(f"{name}: {found}, undisturbed {report.undisturbed}; {report.num_faults} faults so far")
        report.differing += [f"{name}: {found}"] if found != report.undisturbed else []
    report.leftovers += [f"{name} at its end: {item}" for item in cluster.leftovers(ended=True)]


def main() -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, help="so many kills, and no other fault")
    parser.add_argument("--faults", type=int, default=5, help="so many faults of all kinds")
    parser.add_argument("--kinds", nargs="+", choices=list(FAULTS), default=list(FAULTS), help="of these kinds only")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="begin no sweep after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="work here, keep it, go on from its report (a short path)")
    parser.add_argument("--json", action="store_true", help="print the report as one line")
    asked = parser.parse_args()
    kinds, number = (("kill",), asked.kills) if asked.kills else (tuple(asked.kinds), asked.faults)
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as temporary:
        report = run(Plan(kinds, number, asked.seed, asked.minutes), asked.folder or Path(temporary))
    print(json.dumps({**asdict(report), "good": report.good}, indent=None if asked.json else 1))
    sys.exit(0 if report.good else 1)


if __name__ == "__main__":
    main()
