"""What only a GPU can tell, on a CPU: every part runs without ray and mlflow; a failure costs no other part."""

import json
import subprocess
import sys

import pytest

from benchmarks.gpu import PARTS, gathered

BLOCKED = """
import runpy, sys
sys.modules.update(ray=None, mlflow=None)
runpy.run_module("benchmarks.gpu", run_name="__main__", alter_sys=True)
rooms = {name for name in sys.modules if name.startswith("orchestrator.") and name.count(".") == 2}
others = {name for name in rooms if not name.startswith("orchestrator.data.")}
assert others == {"orchestrator.plan.activations"}, others
"""


@pytest.fixture(scope="module")
def figures():
    """What every part tells, in one process that can import neither ray nor mlflow."""
    chosen = [word for part in PARTS for word in ("--part", part)]
    command = [sys.executable, "-c", BLOCKED, "--device", "cpu", "--tiny", *chosen]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(600)
def test_every_part_runs_on_a_cpu(figures):
    named = dict(figures)
    assert len(named) == len(figures), "a name stands twice"
    assert named["usual precision"]["promises"]
    assert set(named["one-path"]) >= {"forecast MiB", "peak MiB"}
    for name in (
        "paths a second, one batch for statistics and one for the verdict",
        "decoded a second on one core",
        "decoded a second on the device",
        "search that reads photographs, images a second",
        "fused optimiser",
        "compiled",
    ):
        assert named[name] > 0, name
    assert named["torch-cpu-1t, first path"]["parity"] < 1e-3


def test_a_part_that_fails_or_is_late_keeps_its_figures_and_costs_no_other():
    now, asked = [0.0], []

    def run(part, seconds):
        asked.append((part, seconds))
        now[0] += seconds
        return ["a warning", '["found", 1]'], {"memory": "out of memory"}.get(part, "")

    found = gathered(PARTS, run, lambda: now[0], minutes=4)
    assert found["memory"] == {"found": 1, "failed": "out of memory"}
    assert found["steps"] == found["judging"] == {"found": 1}
    assert sum(seconds for _, seconds in asked) == 240
    assert found["latency"] == found["variants"] == {"failed": "no time was left"}
