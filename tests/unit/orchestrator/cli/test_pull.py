"""`onepath pull`: the limit is one of the target's unit."""

import pytest

from orchestrator.cli.pull import limit_of
from supernet.errors import InputError


def test_the_limit_is_that_of_the_unit() -> None:
    assert limit_of("ort-cpu-1t", "ms", 2.5, None) == 2.5
    assert limit_of("macs", "1", None, 5e6) == 5e6


@pytest.mark.parametrize("given", [(None, None), (None, 5e6), (2.5, 5e6)])
def test_a_latency_takes_no_count(given) -> None:
    with pytest.raises(InputError, match="target ort-cpu-1t has a latency: give --max-ms, not --max-count"):
        limit_of("ort-cpu-1t", "ms", *given)


@pytest.mark.parametrize("given", [(None, None), (2.5, None), (2.5, 5e6)])
def test_a_count_takes_no_milliseconds(given) -> None:
    with pytest.raises(InputError, match="target macs counts: give --max-count, not --max-ms"):
        limit_of("macs", "1", *given)
