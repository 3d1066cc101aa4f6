"""Supernets of the benchmark: one per (arm, epochs, seed), trained by the search's own warm-up, resumed after a kill.

It must not know the table of true accuracies: everything here is what a user would have.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.macro.images import MacroImages
from supernet.cost import CostTable
from supernet.files import whole
from supernet.judging import share_statistics
from supernet.loop import Search
from supernet.network import Supernet
from supernet.plain import read
from supernet.presets import load_space
from supernet.search_settings import SearchSettings
from supernet.space import Space
from supernet.training import Data

SPACE = "nas-bench-macro"
STATE_FILE, SHARED_FILE, SAVE_EVERY = "supernet.pt", "shared.pt", 50

BATCH_SIZE = 128
"""Images of a batch that batch-norm statistics are taken from, or that judges a path."""


@dataclass(frozen=True)
class Run:
    """One supernet: which settings, how long, which seed, the folder of its state, and its space."""

    arm: str
    epochs: float
    seed: int
    work: Path
    space: str = SPACE

    @property
    def folder(self) -> Path:
        """Where its checkpoint and what is derived from it are kept."""
        return self.work / f"{self.arm}-e{self.epochs:g}-s{self.seed}"

    def settings(self, data: MacroImages) -> SearchSettings:
        """Return the warm-up's settings."""
        written = read_settings()
        base, arm = written["base"], written["arms"][self.arm]
        plain = {**base, **arm, "sharing": base["sharing"] | arm.get("sharing", {})}
        plain["num_steps"] = data.num_steps(self.epochs, plain["batch_size"])
        settings: SearchSettings = read(SearchSettings, plain, f"settings.yaml.arms.{self.arm}")
        return settings


def read_settings() -> dict[str, dict[str, Any]]:
    """Return the settings of the benchmark: `base` and `arms` of the warm-up, `search`, `derive`."""
    written: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "settings.yaml").read_text())
    return written


def spent(run: Run) -> float:
    """Return the CPU seconds of a supernet's training so far."""
    return seconds_of(run.folder / STATE_FILE)


def spent_on_statistics(run: Run) -> float:
    """Return the CPU seconds of the batch-norm statistics that the paths of a supernet share."""
    return seconds_of(run.folder / SHARED_FILE)


def seconds_of(file: Path) -> float:
    """Return the CPU seconds behind what `go_on` or `share` keeps."""
    return float(torch.load(file, weights_only=True)["cpu_seconds"])


def nothing_costs(space: Space) -> CostTable:
    """Return a table in which every path is free: a warm-up knows no budget."""
    return CostTable("none", "1", 0.0, tuple((0.0,) * len(position.candidates) for position in space.positions))


def train(run: Run, data: MacroImages, say: Callable[[str], None]) -> Supernet:
    """Return the trained supernet of a run, with the statistics that its paths share, going on from its checkpoint."""
    space = load_space(run.space)
    settings = run.settings(data)
    supernet = Supernet(space, seed=run.seed, zero_init_residual=settings.sharing.zero_init_residual)
    search = Search(supernet, nothing_costs(space), settings, data, seed=run.seed)
    go_on(search, run.folder / STATE_FILE, say)
    share(supernet, data, BATCH_SIZE, run.folder / SHARED_FILE)
    return supernet


def go_on(search: Search, file: Path, say: Callable[[str], None]) -> None:
    """Bring a search to its end from its last checkpoint, which also keeps the CPU seconds spent."""
    seconds = 0.0
    if file.exists():
        state = torch.load(file, weights_only=True)
        search.load_state_dict(state["search"])
        seconds = state["cpu_seconds"]
    file.parent.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    while not search.done:
        record = search.step()
        if search.step_index % SAVE_EVERY == 0 or search.done:
            spent = seconds + time.process_time() - start
            with whole(file) as part:
                torch.save({"search": search.state_dict(), "cpu_seconds": spent}, part)
            loss, steps = float(record.loss), search.settings.num_steps
            say(f"{file.parent.name}: step {search.step_index}/{steps}, loss {loss:.3f}, {spent:.0f} CPU s")


def share(supernet: Supernet, data: Data, batch_size: int, file: Path) -> None:
    """Give a trained supernet the batch-norm statistics that its paths share, and keep them, with their CPU seconds."""
    if not file.exists():
        start = time.process_time()
        share_statistics(supernet, data, batch_size)
        with whole(file) as part:
            torch.save({"supernet": supernet.state_dict(), "cpu_seconds": time.process_time() - start}, part)
    supernet.load_state_dict(torch.load(file, weights_only=True)["supernet"])
