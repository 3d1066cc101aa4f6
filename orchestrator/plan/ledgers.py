"""The ledgers that a sweep's folder keeps, one sealed file for each run of a driver, and their sum.

Why here: a driver may be killed, so what it spent is kept while it runs, and the next one adds to it. It must not know
what the phases mean, nor Ray.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from orchestrator.data.storage import Storage
from orchestrator.plan.ledger import SWEEP, Ledger, Run, Total, total
from orchestrator.plan.news import News
from supernet.errors import InputError, RunError
from supernet.plain import read_sealed, to_sealed

FOLDER = "ledger"
KEEP_SECONDS = 60.0
"""Between two times that the running ledger is kept: what a killed driver loses."""


class KeptLedger:
    """The ledger of this run, kept in the sweep's folder from time to time.

    Args:
        store: The sweep's folder.
        rank_devices: Processors of a rank.
        forecast: See `orchestrator.plan.ledger.Run`.
        now: Seconds, monotonic.
    """

    def __init__(
        self,
        store: Storage,
        rank_devices: float,
        forecast: Mapping[str, float],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._now = store.child(FOLDER), now
        numbers = [int(name[4:-5]) for name in _files(self._folder) if name[4:-5].isdigit()]
        self._name = f"run-{max(numbers, default=0) + 1:04d}.json"
        self._ledger, self._kept_at = Ledger(now(), rank_devices, forecast), now()

    def look(self, news: Mapping[str, News]) -> None:
        """Take the latest news of work that is not over."""
        self._ledger.look(news, self._now())
        if self._now() - self._kept_at >= KEEP_SECONDS:
            self.keep()

    def keep(self) -> None:
        """Write it, unless nothing was done yet; where that cannot be, the sweep does not end for it."""
        self._kept_at, run = self._now(), self._ledger.run()
        with contextlib.suppress(RunError):
            if any(spent.key != SWEEP for spent in run.spent):
                self._folder.write(self._name, to_sealed(run).encode())

    def idle(self) -> None:
        """Take note that all work is over, and keep what was counted."""
        self.look({})
        self.keep()


@contextlib.contextmanager
def kept_ledger(
    store: Storage, rank_devices: float, forecast: Callable[[], Mapping[str, float]]
) -> Iterator[KeptLedger]:
    """Give a ledger that is kept when the block ends, however it does; the first of a sweep asks for its forecast."""
    ledger = KeptLedger(store, rank_devices, {} if _files(store.child(FOLDER)) else forecast())
    try:
        yield ledger
    finally:
        ledger.idle()


def stored_ledger(store: Storage) -> Total:
    """Return the sum over the runs of a sweep; the ledger of a run that is damaged is left out."""
    return total(_runs(store.child(FOLDER)))


def _runs(folder: Storage) -> Iterator[Run]:
    for name in _files(folder):
        with contextlib.suppress(InputError, OSError):
            yield read_sealed(Run, folder.read(name), f"{folder.uri}/{name}")


def _files(folder: Storage) -> list[str]:
    return [name for name in folder.names() if name.endswith(".json")]
