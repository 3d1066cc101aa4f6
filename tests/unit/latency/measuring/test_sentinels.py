"""Reference kernels: they run, and tell a machine that became slower."""

import pytest

from latency.measuring.sentinels import SENTINELS, host_sentinel, judge_sentinel, streaming
from latency.measuring.timing import HostClock, Samples
from latency.runtimes.base import Host, do_nothing


@pytest.mark.parametrize("name", SENTINELS)
def test_each_kernel_times_itself(name: str) -> None:
    calls = host_sentinel(name, Host(HostClock())).time(3)
    assert len(calls) == 3
    assert all(call.ms > 0 for call in calls)


@pytest.mark.parametrize(("slowest", "drift", "slow"), [(1.0, 0.0, set()), (1.1, 0.1, set()), (1.2, 0.0, {2})])
def test_a_much_slower_phase_does_not_count(slowest: float, drift: float, slow: set[int]) -> None:
    ms = [1.0, 1.0, slowest]
    found = judge_sentinel(Samples(ms=ms, clean=[True] * 3, phases=[0, 1, 2], visits=[0, 1, 2]))
    assert (found.drift, found.unlike) == (pytest.approx(drift), slow)
    assert found.latency_ms == pytest.approx(1.0, rel=1e-3)


def test_nothing_is_streamed_where_nothing_is_asked() -> None:
    assert streaming(0) is do_nothing
    assert streaming(4096) is streaming(4096), "the memory is made once"
