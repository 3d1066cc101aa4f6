"""What a rank takes of its machine, told at intervals: processor, memory, and its GPU where it has one.

Why here: it goes the way of news, from a thread beside the work. It must not know what the rank computes, nor Ray.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import psutil
import torch

from orchestrator.plan.news import News

Sample = Callable[[], Mapping[str, float]]

EVERY_SECONDS = 10.0
"""Between two samples, as MLflow takes them of a machine."""


class Usage:
    """Samples what this process and those that it started take, and its GPU.

    Names are those of MLflow's own system metrics.

    Args:
        device: Where the rank computes.
        clock: Seconds, monotonic.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.monotonic) -> None:
        self.device, self.clock = device, clock
        self._time, self._cpu_seconds = clock(), sum(seconds for seconds, _ in _family())

    def __call__(self) -> dict[str, float]:
        """Return the figures; of the processor since the last call, where 100 % is one core."""
        now, family = self.clock(), _family()
        cpu_seconds = sum(seconds for seconds, _ in family)
        share = max(0.0, cpu_seconds - self._cpu_seconds) / max(now - self._time, 1e-9)
        self._time, self._cpu_seconds = now, cpu_seconds
        found = {
            "cpu_utilization_percentage": round(100 * share, 1),
            "memory_usage_megabytes": round(sum(resident for _, resident in family) / 1e6, 1),
        }
        return found | (_of_gpu(self.device) if self.device.type == "cuda" else {})


def _family() -> list[tuple[float, int]]:
    """Return processor seconds and resident bytes of this process and of those it started, loaders among them.

    The seconds of one that has ended go over to whoever waited for it.
    """
    found: list[tuple[float, int]] = []
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            times = process.cpu_times()
            seconds = times.user + times.system + times.children_user + times.children_system
            found.append((seconds, process.memory_info().rss))
    return found


def _of_gpu(device: torch.device) -> dict[str, float]:
    free, total = torch.cuda.mem_get_info(device)
    found = {"gpu_memory_usage_megabytes": (total - free) / 1e6}
    with contextlib.suppress(Exception):  # nvidia-ml-py may be missing, and not every GPU tells
        found["gpu_utilization_percentage"] = float(torch.cuda.utilization(device))
    return found


@contextlib.contextmanager
def usage_told(
    key: str, rank: int, post: Callable[[News], None], sample: Sample, seconds: float = EVERY_SECONDS
) -> Iterator[None]:
    """Post what a rank takes at intervals, as long as the block.

    Args:
        key: Of the work.
        rank: Of this process.
        post: Takes the news; called in another thread.
        sample: Returns the figures by name.
        seconds: Between two samples.
    """
    over = threading.Event()

    def tell() -> None:
        while not over.wait(seconds):
            # By the clock, so that the points of all ranks meet, and those of a rank that is started again come later.
            step = int(time.time() // EVERY_SECONDS * EVERY_SECONDS)
            post(News(key, "system", step, numbers=sample(), rank=rank))

    thread = threading.Thread(target=tell, name="usage", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
