"""A job from beginning to end on a made-up board, in this process; on processors see `tests/integration`."""

import sys
from pathlib import Path

import pytest

from latency.measuring.child import run
from latency.measuring.job import Item, Job, plan_for
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
