"""The command line of the latency room, and a space small enough to measure in seconds."""

import subprocess
import sys

SMALL = """
base: digits
name: small
rows:
  - {name: stem, op: conv, kernel_size: 3, channels: 16}
  - {name: stage1, op: mbconv, kernel_size: [3, 7], expand_ratio: [3, 6], channels: 24, blocks: 2, skip: true}
  - {name: classifier, op: classifier}
"""


def onepath(*arguments: object, status: int | None = 0) -> str:
    """Run a command; return what it printed on standard output, or its errors if it printed nothing."""
    command = [sys.executable, "-m", "orchestrator.cli.main", "latency", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    if status is not None:
        assert done.returncode == status, done.stderr
    return done.stdout if done.stdout.strip() else done.stderr  # a noisy measurement is printed, too
