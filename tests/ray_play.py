"""Plays one of `ray_scenes` in a process of its own, with Ray's settings of no other test."""

import json
import os
import subprocess
import sys
from pathlib import Path

from repository import ROOT


def play(scene: str, folder: Path) -> dict:
    """Return what the scene printed as its last line."""
    command = [sys.executable, str(ROOT / "tests" / "ray_scenes.py"), scene, str(folder)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])
