"""From calls to figures, by hand; what the protocol makes of a whole machine stands in `test_timing`."""

import math

import pytest

from latency.measuring.summary import fast_half, summarise
from latency.measuring.timing import Samples


def calls(*phases: float, clean: bool = True) -> Samples:
    """Return samples with two equal visits of one call in each phase."""
    found = Samples()
    for phase, ms in enumerate(phases):
        for visit in (2 * phase, 2 * phase + 1):
            found.ms.append(ms)
            found.clean.append(clean)
            found.phases.append(phase)
            found.visits.append(visit)
    return found


@pytest.mark.parametrize(
    ("values", "wanted"), [([2.0], 2.0), ([3.0, 1.0], 1.0), ([9.0, 1.0, 2.0], 1.5), ([9.0, 1.0, 8.0, 3.0], 2.0)]
)
def test_the_faster_half(values: list[float], wanted: float) -> None:
    assert fast_half(values) == wanted


def test_what_five_items_do_together_is_the_machines() -> None:
    found = summarise({name: calls(ms, 1.1 * ms) for name, ms in zip("abcde", (1.0, 2.0, 3.0, 4.0, 5.0), strict=True)})
    assert (found.num_phases, found.moved) == (2, pytest.approx(0.1))
    assert [stats.latency_ms for stats in found.stats.values()] == [pytest.approx(ms) for ms in (1, 2, 3, 4, 5)]
    assert all(stats.error_ms == pytest.approx(0.0, abs=1e-12) for stats in found.stats.values())


def test_an_error_is_the_spread_over_the_root_of_the_phases() -> None:
    """Fewer than five items: nothing is taken out. Logarithms of 1 and 1.1 lie log(1.1) apart."""
    (stats,) = summarise({"a": calls(1.0, 1.1, 1.0, 1.1)}).stats.values()
    assert stats.relative_error == pytest.approx(math.log(1.1) / math.sqrt(3) / 2)
    assert stats.repeat == pytest.approx(1 - 1 / 1.1)
    assert (stats.median_ms, stats.p10_ms, stats.num_samples, stats.num_clean) == (1.1, 1.0, 8, 8)


def test_one_phase_tells_no_error() -> None:
    found = summarise({"a": calls(1.0)})
    assert math.isinf(found.stats["a"].error_ms)
    assert math.isinf(found.moved)


def test_a_phase_without_an_undisturbed_call_of_every_item_does_not_count() -> None:
    disturbed = calls(1.0, 1.0, 1.0)
    disturbed.clean[4:] = [False, False]
    assert summarise({"a": calls(2.0, 2.0, 2.0), "b": disturbed}).num_phases == 2


def test_a_slow_phase_does_not_count() -> None:
    """All items are slower by a fifth in it, but not by the same: `b` would come out too slow."""
    found = summarise({"a": calls(1.0, 1.19, 1.0, 1.0), "b": calls(2.0, 2.6, 2.0, 2.0)})
    assert (found.unlike, found.num_phases, found.moved) == ({1}, 3, pytest.approx(0.0))
    assert [stats.latency_ms for stats in found.stats.values()] == [pytest.approx(1.0), pytest.approx(2.0)]
    assert all(stats.relative_error == pytest.approx(0.0, abs=1e-12) for stats in found.stats.values())


def test_a_lone_fast_phase_does_not_count_either() -> None:
    found = summarise({"a": calls(1.0, 0.8, 1.05, 1.0)})
    assert (found.unlike, found.num_phases, found.stats["a"].latency_ms) == ({1}, 3, pytest.approx(1.0))


def test_of_two_kinds_of_phases_as_many_the_fast_ones_count() -> None:
    assert summarise({"a": calls(1.0, 1.3, 1.0, 1.3)}).unlike == {1, 3}


def test_the_phases_that_count_are_those_that_most_are_like() -> None:
    """The median one, 1.4, is like one other."""
    found = summarise({"a": calls(1.0, 1.9, 1.01, 1.6, 1.02, 1.4, 2.2)})
    assert (found.unlike, found.stats["a"].latency_ms) == ({1, 3, 5, 6}, pytest.approx(1.0, rel=0.02))


def test_phases_that_a_reference_kernel_was_slow_in_are_left_out() -> None:
    found = summarise({"a": calls(1.0, 1.05, 1.0)}, left_out={1})
    assert (found.num_phases, found.stats["a"].error_ms) == (2, pytest.approx(0.0, abs=1e-12))


def test_the_level_is_that_of_the_items_named() -> None:
    lucky = calls(1.0, 1.0)
    lucky.ms[0] = 0.9
    samples = {"lucky": lucky, "steady": calls(1.0, 1.0)}
    assert summarise(samples, ["steady"]).stats["steady"].latency_ms == pytest.approx(1.0)
    assert summarise(samples, ["lucky"]).stats["steady"].latency_ms < 0.99
