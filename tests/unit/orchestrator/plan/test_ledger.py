"""Where the time of a sweep goes, by a clock of the test's own."""

import pytest

from orchestrator.plan.ledger import BETWEEN, SWEEP, WAIT, Ledger, Run, Spent, phases, total
from orchestrator.plan.news import News


def played(*looks, rank_devices=1.0):
    """Return the ledger of looks (seconds after the last one, news of what goes on)."""
    ledger, now = Ledger(100.0, rank_devices), 100.0
    for after, *news in looks:
        now += after
        ledger.look({item.key: item for item in news}, now)
    return ledger.run()


def seconds(run):
    return {(spent.key, spent.phase): spent.seconds for spent in run.spent}


def test_a_stretch_belongs_to_what_went_on_at_its_beginning():
    run = played(
        (8, News("a", "workers", waits_for="1 worker")),
        (20, News("a", "search", 1, 100)),
        (30, News("a", "search", 90, 100)),
        (10, News("a", "measure", waits_for="the device")),
        (5, News("a", "measure", 1, 100)),
        (2, News("a", "derive: judge", 1, 8)),
        (3,),
        (4,),
    )
    assert seconds(run) == {
        (SWEEP, BETWEEN): 8 + 4,
        ("a", "workers"): 20,
        ("a", "search"): 40,
        ("a", WAIT): 5,
        ("a", "measure"): 2,
        ("a", "derive"): 3,
    }
    assert run.wall_seconds == 82
    found = total([run])
    assert found.seconds == 82
    assert found.overhead_share == pytest.approx((12 + 20 + 5) / 82)


def test_ranks_hold_their_processors_until_they_leave_and_a_target_that_measures_counts_too():
    run = played(
        (1, News("a", "workers", waits_for="2 workers")),
        (10, News("a", "search", 1, 100, num_ranks=2)),
        (10, News("a", "measure", 1, 100)),
        (10, News("a", "workers", num_ranks=0)),
        (10, News("a", "measure", 1, 100)),
        (10,),
        rank_devices=4.0,
    )
    devices = {spent.phase: spent.device_seconds for spent in run.spent}
    assert devices == {BETWEEN: 0, "workers": 0, "search": 80, "measure": (80 + 10) + 10}


def test_work_beside_other_work_is_counted_for_both_and_news_that_are_gone_for_none():
    a, b = News("a", "train", 1, 9, num_ranks=1), News("b", "measure")
    run = played((0, a), (5, a, b), (7, b), (9,))
    assert seconds(run) == {(SWEEP, BETWEEN): 0, ("a", "train"): 12, ("b", "measure"): 16}
    assert run.wall_seconds == 21
    assert total([run]).seconds == 28


def test_runs_of_a_sweep_add_up_and_the_first_has_the_forecast():
    first = Run(50.0, {"wall": 40.0}, (Spent("a", "search", 30.0, 60.0), Spent(SWEEP, BETWEEN, 20.0, 0.0)))
    again = Run(9.0, {}, (Spent("b", "export", 1.0, 0.0), Spent("a", "search", 8.0, 3600.0)))
    both = total([first, again])
    assert (both.num_runs, both.wall_seconds, both.forecast) == (2, 59.0, {"wall": 40.0})
    assert both.by_key()["a"] == [Spent("a", "search", 38.0, 3660.0)]
    assert [spent.phase for spent in both.by_phase()] == ["search", BETWEEN, "export"]
    assert both.device_hours == pytest.approx(3660 / 3600)
    assert both.to_plain()["overhead_share"] == pytest.approx(21 / 59)
    assert [spent["overhead"] for spent in both.to_plain()["spent"]] == [False, True, True]


def test_a_sweep_that_did_nothing_has_an_empty_ledger():
    nothing = total([])
    assert (nothing.seconds, nothing.overhead_share, nothing.device_hours, phases(nothing.spent)) == (0, 0, 0, [])
