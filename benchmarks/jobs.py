"""Submits a sweep as a Ray job to a head on this machine, kills its driver, and submits the same command again.

    python -m benchmarks.jobs --json

Why here: a job is started from a copy of its folder by another process, with its own environment. Exits with 1 if the
second job does not end well, does not continue the first, or registers something twice.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.chaos import registered, starts
from benchmarks.clusters import LOOPBACK, RAY, Processes, clean_environment, family, free_port, kill, wait_for

CONFIG = "small_sweep.yaml"


class Head:
    """A head with a job server, everything on loopback."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        port, dashboard = free_port(), free_port()
        bin_folder = str(Path(sys.executable).parent)
        environment = clean_environment(LOOPBACK)
        environment["PATH"] = f"{bin_folder}:{environment['PATH']}"
        self.client = {**environment, "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
        command = f"{RAY} start --head --block --port {port} --num-cpus 2 --object-store-memory 157286400"
        command += f" --dashboard-host 127.0.0.1 --dashboard-port {dashboard} --disable-usage-stats"
        self.process = processes.start([*command.split(), "--temp-dir", str(folder / "ray")], environment, "head.log")
        wait_for("the job server answers", lambda: self.ask("list").returncode == 0, 240)

    def ask(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run `ray job`."""
        return subprocess.run(
            [RAY, "job", *words], env=self.client, capture_output=True, text=True, timeout=120, check=False
        )

    def submit(self, folder: Path, storage: Path, name: str) -> None:
        """Submit the sweep, as a user does."""
        sweep = ["onepath", "sweep", CONFIG, "--storage", str(storage)]
        done = self.ask("submit", "--no-wait", "--submission-id", name, "--working-dir", str(folder), "--", *sweep)
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr)

    def status(self, name: str) -> str:
        """Return `RUNNING`, `SUCCEEDED`, `FAILED` or another state of a job."""
        said = self.ask("status", name)
        states = ("SUCCEEDED", "FAILED", "STOPPED", "RUNNING", "PENDING")
        return next((state for state in states if state in (said.stdout + said.stderr).upper()), "?")

    def kill_driver(self) -> bool:
        """SIGKILL the driver of the running job; return whether there was one."""
        for process in family(self.process.pid):
            try:
                words = process.cmdline()
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            if "sweep" in words and any(word.endswith("/onepath") for word in words):
                return kill(process)
        return False


def run(folder: Path) -> dict[str, Any]:
    """Submit, kill, submit again; return what came out."""
    begin, storage, work = time.monotonic(), folder / "runs", folder / "work"
    work.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name(CONFIG), work / CONFIG)
    sweep = storage / "small"
    with Processes(folder) as processes:
        head = Head(folder, processes)
        head.submit(work, storage, "first")
        wait_for("the search", lambda: "params-f0.4" in registered(sweep) or head.status("first") == "FAILED", 500)
        before = registered(sweep)
        killed = head.kill_driver()
        wait_for("the end of the first job", lambda: head.status("first") in ("FAILED", "STOPPED"), 120)
        head.submit(work, storage, "second")
        wait_for("the second job", lambda: head.status("second") in ("FAILED", "SUCCEEDED", "STOPPED"), 600)
        ended = head.status("second")
        if ended != "SUCCEEDED":
            sys.exit(head.ask("logs", "second").stdout[-3000:])
    went_on = {key: starts(sweep, key) for key in ("warmup", "params-f0.4")}
    (trial,) = (sweep / "trials").iterdir()
    return {
        "killed": killed,
        "registered_before": before,
        "starts": went_on,
        "model": json.loads((trial / "registered.json").read_text())["model_uri"],
        "good": killed and len(went_on["warmup"]) == 1 and went_on["params-f0.4"][-1] >= before["params-f0.4"],
        "seconds": round(time.monotonic() - begin, 1),
    }


def main() -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="work here and keep it (a short path: sockets live below it)")
    parser.add_argument("--json", action="store_true", help="print the report as one line")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jobs-", ignore_cleanup_errors=True) as temporary:
        report = run(asked.folder or Path(temporary))
    print(json.dumps(report, indent=None if asked.json else 1))
    sys.exit(0 if report["good"] else 1)


if __name__ == "__main__":
    main()
