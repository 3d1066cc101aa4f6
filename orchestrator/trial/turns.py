"""Whose turn it is: the next trial whose device is there and whose table is known, as soon as one more may run.

Why here: what waits for a device or for room waits outside of Ray Tune and Ray Train, where it holds nothing and wears
out nobody's patience. Which trials there are stands in `placing`; it must not know how they are run.
"""

import time
from collections.abc import Callable

from orchestrator.cluster.devices import LOOK_SECONDS
from orchestrator.trial.placing import NextTrial
from orchestrator.trial.tables import Tables
from orchestrator.trial.tuning import Turn


class Turns:
    """Gives trials with the costs of their targets; None while the next one has to wait. Ends when none is left.

    Args:
        next_trial: Makes the next trial of the targets that are ready.
        tables: Of the targets. One without a table that is asked for has no turn.
        at_once: Returns how many trials may run now, at least one.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        next_trial: NextTrial,
        tables: Tables,
        at_once: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._next_trial, self._tables, self._at_once, self._clock = next_trial, tables, at_once, clock
        self._running: set[str] = set()
        self._none_left_of: set[str] = set()
        self._look_at = clock()

    def ended(self, key: str) -> None:
        """Take note that a trial is over: there is a turn, and its result may ask for further trials."""
        self._running.discard(key)
        self._none_left_of = set()
        self._look_at = self._clock()

    def __iter__(self) -> "Turns":
        """Return itself."""
        return self

    def __next__(self) -> Turn | None:
        """Return the next trial, or none now; a device is given up only while nothing else runs."""
        if self._clock() < self._look_at:
            return None
        ready = self._tables.ready(patient=bool(self._running))
        if ready.keys() != self._none_left_of and (not self._running or len(self._running) < self._at_once()):
            if (trial := self._next_trial(ready)) is not None:
                self._running.add(trial.key)
                return trial, ready[trial.target]
            self._none_left_of = set(ready)
        if not (self._running or self._tables.awaited or self._tables.ask_again()):
            raise StopIteration
        self._look_at = self._clock() + LOOK_SECONDS
        return None
