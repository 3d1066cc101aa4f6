"""How a search went: expected cost and entropy of alpha over its steps, kept in the trial's folder.

Why here: the report draws it long after the sweep. A restart repeats steps from its checkpoint, and their points with
them. It must not know how a search works, nor how a curve is drawn.
"""

from typing import Protocol

from orchestrator.data.storage import Storage
from orchestrator.plan.curves import CURVE_FILE, Point, stored_curve
from orchestrator.trial.records import write_record
from supernet.loop import StepRecord

MAX_POINTS = 250
"""Of a curve: as many as a page shows."""


class Curve(Protocol):
    """Takes the steps of a search."""

    def add(self, record: StepRecord) -> None:
        """Take a step."""
        ...

    def keep(self) -> None:
        """Write what was taken, before a checkpoint of the same step."""
        ...


class NoCurve:
    """Takes everything and keeps nothing: a warm-up has no alpha, and only one rank keeps a curve."""

    def add(self, record: StepRecord) -> None:
        """Take a step."""

    def keep(self) -> None:
        """Write nothing."""


class KeptCurve:
    """A curve in a trial's folder.

    Args:
        store: The trial's folder.
        num_steps: Of the whole search.
        start: Steps done before; points of later ones are of a run that was cut, and come again.
    """

    def __init__(self, store: Storage, num_steps: int, start: int) -> None:
        self._store, self._num_steps, self._every = store, num_steps, max(1, num_steps // MAX_POINTS)
        self._points = [point for point in stored_curve(store) if point.step <= start]

    def add(self, record: StepRecord) -> None:
        """Take a step, if it is one of those that are kept."""
        step = record.step + 1
        if step % self._every == 0 or step in (1, self._num_steps):
            self._points.append(Point(step, record.expected_cost, record.entropy))

    def keep(self) -> None:
        """Write the points so far."""
        write_record(self._store, CURVE_FILE, tuple(self._points))
