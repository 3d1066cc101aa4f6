"""Reference kernels that tell how disturbed the processor is: always the same work, timed among the items.

One stays in the nearest caches, one streams more weights than they hold: neighbours on the machine disturb the
two differently. They say which phases count; dividing by them made results worse, so nothing is rescaled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from latency.measuring.summary import summarise
from latency.measuring.timing import Samples
from latency.runtimes.base import Host, Program, do_nothing, host_program
from supernet.plain import Unbounded

PREFIX = "sentinel:"

SENTINELS = ("cache", "stream")


def host_sentinel(name: str, host: Host) -> Program:
    """Return a processor's sentinel: about 0.1 ms in the cache, or some tenths of a millisecond of streaming."""
    rng = np.random.default_rng(0)
    small = rng.standard_normal((128, 128)).astype(np.float32)
    out = np.empty_like(small)
    big = rng.standard_normal(7 * 2**18).astype(np.float32)

    def cache() -> None:
        for _ in range(2):
            np.dot(small, small, out=out)

    def stream() -> None:
        big.sum()

    kernels = dict(zip(SENTINELS, (cache, stream), strict=True))
    return host_program(kernels[name], lambda images: images, host)


@lru_cache(maxsize=4)
def streaming(num_bytes: int) -> Callable[[], None]:
    """Return a function that reads through so much memory: what was in the near caches is gone, as in a network."""
    if num_bytes < 64:
        return do_nothing
    memory = np.ones(num_bytes // 4, np.float32)

    def stream() -> None:
        memory.max()

    return stream


@dataclass(frozen=True)
class SentinelStats:
    """What a sentinel saw.

    Attributes:
        latency_ms: Its fastest undisturbed call.
        drift: By how much slower it was in the slowest phase that counts than in its fastest.
        unlike: Phases in which it was so much slower or faster that they do not count, see `summary.MAX_MOVED`.
    """

    latency_ms: float
    drift: Unbounded
    unlike: frozenset[int] = frozenset()


def judge_sentinel(samples: Samples) -> SentinelStats:
    """Reduce the calls of one sentinel, which stays the same program through all phases."""
    summary = summarise({"": samples})
    return SentinelStats(summary.stats[""].latency_ms, summary.moved, summary.unlike)
