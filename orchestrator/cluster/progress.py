"""Progress of a sweep: workers say where they are, the driver shows it.

Why here: the news cross machines, so they go through one small actor; nothing waits for it, and losing it
loses nothing but news.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

BOARD = "onepath-progress"


@dataclass(frozen=True)
class News:
    """Where one piece of work is.

    Attributes:
        key: Trial key, or the name of work that all trials share.
        phase: For instance `table`, `warm-up`, `search`, `derive`, `train`, `measure`.
        step: Steps done.
        num_steps: Steps of the phase; 0 where they cannot be counted.
        numbers: Figures of the step by name, units in the name: `loss`, `expected_ms`.
    """

    key: str
    phase: str
    step: int = 0
    num_steps: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)


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
    """The latest news per key. Runs as a Ray actor."""

    def __init__(self) -> None:
        self._news: dict[str, dict[str, Any]] = {}

    def post(self, news: dict[str, Any]) -> None:
        """Replace the news of a key."""
        self._news[news["key"]] = news

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the latest news per key, as plain data."""
        return self._news


def start_board() -> Any:
    """Start the actor on the head and return its handle; the driver keeps it alive.

    Its name is known in the driver's own namespace only, so sweeps that share a cluster do not meet.
    """
    import ray

    from orchestrator.cluster.session import HEAD_RESOURCE

    actor = ray.remote(num_cpus=0, resources={HEAD_RESOURCE: 0.001}, max_restarts=-1)(Board)
    return actor.options(name=BOARD, get_if_exists=True).remote()


def reader(board: Any) -> Callable[[], dict[str, dict[str, Any]]]:
    """Return a function that reads the board; while it is away (its process was lost) there are no news."""
    import ray

    from orchestrator.cluster.session import ray_for_threads

    def read() -> dict[str, dict[str, Any]]:
        with ray_for_threads() as up:
            if not up:
                return {}
            try:
                news: dict[str, dict[str, Any]] = ray.get(board.read.remote(), timeout=5)
            except (ray.exceptions.RayError, TimeoutError):
                return {}
        return news

    return read


def poster(min_seconds: float = 0.3) -> Callable[[News], None]:
    """Return a function that posts news, at most one per `min_seconds` and phase; without a board it does nothing."""
    import ray

    try:
        board = ray.get_actor(BOARD)
    except ValueError:
        return lambda news: None
    last: dict[str, float] = {}

    def post(news: News) -> None:
        now = time.monotonic()
        if news.step < news.num_steps and now - last.get(news.phase, -min_seconds) < min_seconds:
            return
        last[news.phase] = now
        board.post.remote(asdict(news))

    return post
