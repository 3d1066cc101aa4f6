"""Targets as a derivation and the gate meet them, outside of a sweep: those that count and those of this machine.

They measure as a sweep does: networks while one is derived, files when one is delivered. They know no budgets.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from benchmarks.common import say
from benchmarks.seeded import Seeded, table_of
from latency.graphs.quantise import Quantisation
from latency.measuring.measure import Measurement, References, measure_file, measure_network
from latency.measuring.process import MeasuringProcess
from latency.tables.estimate import cost_table
from latency.target import Target
from orchestrator.cluster.devices import disturbance, quietest
from orchestrator.trial.costs import NetworkCost
from orchestrator.trial.files import delivered_file, makers_of
from supernet.cost import CostTable
from supernet.errors import RunError
from supernet.space import Path as Choices
from supernet.space import Space
from supernet.specialise import specialise

NUM_WAITS, WAIT_SECONDS = 3, 60.0
"""How often, and how long, a machine is waited for that has slowed down."""


class Bench(Protocol):
    """A target: its table, a measurement for the derivation and one of the delivered file."""

    costs: CostTable
    table_error: float
    external: bool
    """Whether a program measures one network at a time, so that nothing beside it tells a disturbance."""

    def measure(self, path: Choices) -> float:
        """Return what a path takes, as measured while networks are derived."""
        ...

    def deliver(self, path: Choices) -> NetworkCost:
        """Return what the file of a path takes, measured anew at each call."""
        ...


class Counted:
    """A target that counts: what its table says is what a network takes."""

    table_error, external = 0.0, False

    def __init__(self, target: Target, space: Space) -> None:
        self.costs = replace(cost_table(space, target, ""), name=target.name)  # that of a count is what is counted

    def measure(self, path: Choices) -> float:
        """Return the count."""
        return self.costs.total(path)

    def deliver(self, path: Choices) -> NetworkCost:
        """Return the count."""
        return NetworkCost.counted(self.costs.total(path))


class Measured:
    """A target of this machine: its table is built where it is missing, its networks share a process.

    Args:
        target: A measured one.
        process: Of it.
        folder: For files, which are made once.
        seeded: Weights, and images for int8.
        asked: Settings of the benchmark.
    """

    def __init__(
        self, target: Target, process: MeasuringProcess, folder: Path, seeded: Seeded, asked: argparse.Namespace
    ) -> None:
        self.target, self.process, self.folder, self.seeded = target, process, folder, seeded
        self.seconds, self.external = asked.network_seconds, target.traits.external
        table = table_of(seeded.supernet.space, target, asked)
        self.costs, self.table_error, self.near = table.cost_table(), table.calibration.rms, table.calibration.near

    def measure(self, path: Choices) -> float:
        """Measure what a path's network takes at most, as far as the error is known; its weights are random."""
        space = self.seeded.supernet.space
        architecture, beside, run = space.architecture(path), self._beside(path), self.process.run

        def once() -> Measurement:
            return measure_network(space, architecture, self.target, seconds=self.seconds, references=beside, run=run)

        return quietest(once, disturbance).as_known.surely_within_ms

    def deliver(self, path: Choices) -> NetworkCost:
        """Measure the file that a sweep would deliver, with the weights that the path has in the supernet.

        Raises:
            RunError: If the machine is slower than when its table was measured, and stays so.
        """
        file, beside, run = self._file(path), self._beside(path), self.process.run

        def once() -> Measurement:
            return measure_file(file, self.target, seconds=self.seconds, references=beside, run=run)

        return NetworkCost.measured(not_slowed(once, self.target.name, time.sleep))

    def _file(self, path: Choices) -> Path:
        supernet, name = self.seeded.supernet, delivered_file(self.target)
        file = self.folder / "-".join(map(str, path)) / name
        if not file.exists():
            network = specialise(supernet, supernet.space.architecture(path), inherit=True, seed=0)
            file.parent.mkdir(parents=True)
            file.write_bytes(makers_of(network, self.target, self.seeded.data, Quantisation())[name]())
        return file

    def _beside(self, path: Choices) -> References | None:
        """Return networks of the table to be measured beside a path, as in a sweep."""
        space = self.seeded.supernet.space
        return None if self.external else References(space, self.near(self.costs.total(path)))


def not_slowed(measure: Callable[[], Measurement], target: str, wait: Callable[[float], None]) -> Measurement:
    """Measure until the machine is as fast as its table knows it: a figure of a slower one says nothing of a budget.

    A figure may still be noisy after a few tries; it says so.

    Args:
        measure: Measures once.
        target: For messages.
        wait: Waits for so many seconds.

    Raises:
        RunError: If the machine stays slower.
    """
    for number in range(NUM_WAITS):
        found = quietest(measure, disturbance)
        if not found.slowed:
            return found
        if number + 1 < NUM_WAITS:
            say(f"{target}: {found.moved}; waiting for {WAIT_SECONDS:.0f} s")
            wait(WAIT_SECONDS)
    raise RunError(
        f"target {target}: {found.moved}; nothing is kept of this network, and the same command measures it again. If "
        f"the machine stays so, take another --work: a new table is measured first"
    )
