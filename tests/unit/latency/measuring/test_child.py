"""A job from beginning to end on a made-up board, in this process; on processors see `tests/integration`."""

import sys
from pathlib import Path

import pytest

from latency.measuring.checkpoint import Checkpoint
from latency.measuring.child import run
from latency.measuring.job import Item, Job, plan_for
from latency.measuring.timing import Samples
from latency.target import read_target
from supernet.presets import load_space

SPACE = load_space("digits")
NETWORK = Item("network", choices=SPACE.kept((0,) * 6), input_shape=SPACE.input_size, whole=True)
STEM = Item("stem", choices=((0, 0),), input_shape=SPACE.input_size)
BLOCK = Item("block", choices=((1, 0),), input_shape=(16, 16, 16))

BOARD = """
import pathlib, sys
model = pathlib.Path(sys.argv[1])
size = model.stat().st_size
before = pathlib.Path(sys.argv[0]).with_suffix(f".{size}")
print(4.0 if size > 50_000 else 1.1 if before.exists() else 1.0)
before.touch()
"""
"""A network takes 4 ms, always; of each short chain the first call is fast."""


def job_on_a_board(folder: Path, *items: Item) -> Job:
    script = folder / "bench.py"
    script.write_text(BOARD)
    options = {"command": [sys.executable, str(script), "{model}"]}
    target = read_target({"name": "board", "runtime": "command", "options": options}, "board")
    return Job(target, items, SPACE, plan_for(target, 0.001), work_folder=str(folder))


def test_the_level_is_that_of_whole_networks_on_every_target(tmp_path: Path) -> None:
    """Two of the three items are chains with a lucky call, which says nothing of what a network needs."""
    found = run(job_on_a_board(tmp_path, STEM, BLOCK, NETWORK), tmp_path, lambda text, share: None)
    assert found.num_phases == 3
    assert found.stats["network"].latency_ms == pytest.approx(4.0, rel=1e-9)
    assert found.stats["stem"].latency_ms == pytest.approx((1.0 * 1.1 * 1.1) ** (1 / 3), rel=1e-9)


def test_a_phase_that_a_reference_kernel_left_out_stays_out_of_a_run_that_goes_on(tmp_path: Path) -> None:
    """The kernel itself is another process by then, and what it saw before is not held against what it sees."""
    job = job_on_a_board(tmp_path, NETWORK)
    before = Samples([4.0, 4.4, 4.0], [True] * 3, [0, 1, 2], [0, 1, 2])
    Checkpoint.of(job).save({"network": before}, {1}, 3.0)
    found = run(job, tmp_path, lambda text, share: None)
    assert (found.num_phases, found.num_unlike) == (3, 1)
    assert found.stats["network"].error_ms == pytest.approx(0.0, abs=1e-9)
