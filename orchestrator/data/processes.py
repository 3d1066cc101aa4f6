"""Work spread over processes of this machine, in order and within bounded memory. It must not know what the work is."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from supernet.errors import RunError

T = TypeVar("T")
R = TypeVar("R")


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[T], R], tasks: Iterable[T], num_processes: int) -> Iterator[R]:
    """Yield `function(task)` for each task, in order; at most two tasks per process are under way.

    Args:
        function: Picklable; sent once to each process, so it may hold something large.
        tasks: Each is picklable. They are drawn as they are needed.
        num_processes: 1 works in this process.

    Raises:
        RunError: If a process dies.
    """
    if num_processes == 1:
        yield from map(function, tasks)
        return
    # Forking a process that holds Ray's or torch's threads is unsafe, so they come from a clean server.
    context = get_context("forkserver")
    pool = ProcessPoolExecutor(num_processes, mp_context=context, initializer=_adopt, initargs=(function,))
    waiting: deque[Future[R]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(_run, task))
            if len(waiting) >= 2 * num_processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise RunError(
            "a process that prepares images died, perhaps for want of memory; run the command again"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_adopted: list[Callable[[Any], Any]] = []


def _adopt(function: Callable[[Any], Any]) -> None:
    _adopted[:] = [function]


def _run(task: Any) -> Any:
    return _adopted[0](task)
