"""The board of a sweep: workers say where they are, the driver shows it; and who measured a table leaves it there.

Why here: both cross machines, so they go through one small actor. Losing it loses nothing but news, and the time to
measure a table once more.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from orchestrator.plan.news import News

BOARD, POST_SECONDS = "onepath-progress", 0.3


class Speed:
    """Images per second of a phase between two looks.

    Args:
        batch_size: Images of a step, over all ranks.
        step: Steps done before.
        clock: Seconds, monotonic.
    """

    def __init__(self, batch_size: int, step: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.batch_size, self.clock = batch_size, clock
        self._step, self._time = step, clock()

    def at(self, step: int) -> float:
        """Return the speed since the last look, when so many steps are done."""
        now = self.clock()
        speed = self.batch_size * (step - self._step) / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return speed


class Board:
    """The latest news per subject, and the tables measured since it was started. Runs as a Ray actor."""

    def __init__(self) -> None:
        self._news: dict[str, News] = {}
        self._tables: dict[str, bytes] = {}

    def leave(self, name: str, table: bytes) -> None:
        """Keep a table."""
        self._tables[name] = table

    def table(self, name: str) -> bytes | None:
        """Return the table of a name, if one was left."""
        return self._tables.get(name)

    def post(self, news: News) -> None:
        """Replace the news of a subject."""
        self._news[news.subject] = news

    def read(self) -> dict[str, News]:
        """Return the latest news per subject."""
        return self._news


def start_board() -> Any:
    """Start the actor on the head and return its handle; the driver keeps it alive.

    Its name is known in the driver's own namespace only, so sweeps that share a cluster do not meet.
    """
    import ray

    from orchestrator.cluster.session import HEAD_RESOURCE

    actor = ray.remote(num_cpus=0, resources={HEAD_RESOURCE: 0.001}, max_restarts=-1)(Board)
    return actor.options(name=BOARD, get_if_exists=True).remote()


def reader(board: Any) -> Callable[[], dict[str, News]]:
    """Return a function that reads the board; while it is away (its process was lost) there are no news."""
    import ray

    from orchestrator.cluster.session import ray_for_threads

    def read() -> dict[str, News]:
        with ray_for_threads() as up:
            if not up:
                return {}
            try:
                news: dict[str, News] = ray.get(board.read.remote(), timeout=5)
            except (ray.exceptions.RayError, TimeoutError):
                return {}
        return news

    return read


def poster() -> Callable[[News], None]:
    """Return a function that posts news, at most one per `POST_SECONDS` and phase; without a board it does nothing."""
    import ray

    if not ray.is_initialized():  # asking for an actor would start a cluster
        return lambda news: None
    try:
        board = ray.get_actor(BOARD)
    except ValueError:
        return lambda news: None
    last: dict[str, float] = {}

    def post(news: News) -> None:
        now = time.monotonic()
        if news.step < news.num_steps and now - last.get(news.phase, -POST_SECONDS) < POST_SECONDS:
            return
        last[news.phase] = now
        board.post.remote(news)

    return post


def leave_table(name: str, content: bytes) -> None:
    """Leave a table for those that wait to measure the same one; they find it when this returns."""
    import ray

    if not ray.is_initialized():
        return
    with contextlib.suppress(ValueError, ray.exceptions.RayError):  # no board, or it is away: they measure it again
        ray.get(ray.get_actor(BOARD).leave.remote(name, content))


def left_table(name: str) -> bytes | None:
    """Return the table that was left under a name."""
    import ray

    if not ray.is_initialized():
        return None
    with contextlib.suppress(ValueError, ray.exceptions.RayError):
        found: bytes | None = ray.get(ray.get_actor(BOARD).table.remote(name))
        return found
    return None
