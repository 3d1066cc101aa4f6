"""What the progress view prints where the output is a log, by a clock of the test's own."""

import io
from itertools import pairwise

import pytest
from rich.console import Console

from orchestrator.plan.news import News
from orchestrator.report.live import LINE_SECONDS, LiveView, clock


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3723, "1:02:03")])
def test_clock(seconds, text):
    assert clock(seconds) == text


class Log:
    """A view on made-up news and time; `look` returns the lines that the look added."""

    def __init__(self, total=2, terminal=False):
        self.out, self.time, self.news, self.seen = io.StringIO(), 0.0, {}, []
        console = Console(file=self.out, width=200, force_terminal=terminal)
        self.view = LiveView(console, lambda: self.news, total, seen=self.seen.append, now=lambda: self.time)

    def look(self, *news, after=0.0):
        self.time += after
        self.news |= {item.subject: item for item in news}
        start = len(self.out.getvalue())
        self.view.look()
        return self.out.getvalue()[start:].splitlines()


def search(step, **numbers):
    return News("trial-a", "search", step, 1000, numbers or {"loss": 1.234, "expected_ms": 5.0})


def test_a_line_where_a_phase_begins_then_one_a_minute_with_figures_and_time_left():
    log = Log()
    assert log.look(search(1)) == ["0:00 trial-a: search 1/1000  loss 1.23  expected ms 5"]
    lines = [line for second in range(1, 301) for line in log.look(search(1 + second), after=1.0)]
    assert len(lines) == 5, "one a minute"
    assert lines[0] == "1:00 trial-a: search 61/1000  left 15:39  loss 1.23  expected ms 5"
    assert log.look(News("trial-a", "derive: judge", 0, 8), after=1.0) == ["5:01 trial-a: derive: judge 0/8"]
    assert log.seen[-1]["trial-a"].phase == "derive: judge"


def test_two_hours_have_a_line_at_least_every_five_minutes_whatever_the_speed():
    log, times = Log(), []
    for step in range(1, 25):
        for _ in range(300):
            times += [log.time for line in log.look(search(step), after=1.0) if "search" in line]
    assert max(b - a for a, b in pairwise(times)) <= LINE_SECONDS + 1


def test_waiting_is_said_with_what_for_and_how_long():
    log = Log()
    wait = News("trial-a", "measure", waits_for="the device of ort-cpu-1t")
    assert log.look(wait) == []
    lines = [line for _ in range(130) for line in log.look(wait, after=1.0)]
    assert lines[0] == "0:05 trial-a: measure  waits for the device of ort-cpu-1t (0:05 so far)"
    assert lines[-1] == "2:05 trial-a: measure  waits for the device of ort-cpu-1t (2:05 so far)"
    assert log.look(News("trial-a", "measure"), after=1.0) == ["2:11 trial-a: measure"]


def test_a_device_that_is_free_is_not_said_to_be_waited_for():
    log = Log()
    log.look(News("trial-a", "train", 10, 10))
    assert log.look(News("trial-a", "measure", waits_for="the device of ort-cpu-1t"), after=1.0) == []
    assert log.look(News("trial-a", "measure", 1, 100), after=2.0) == ["0:03 trial-a: measure 1/100"]
    assert log.look(News("trial-a", "measure", 1, 100, waits_for="another measurement"), after=1.0) == []
    assert log.look(News("trial-a", "measure", 2, 100), after=1.0) == [], "nothing new was said in between"
    assert len(log.look(News("trial-a", "measure", 3, 100), after=60.0)) == 1


def test_a_restart_is_seen_as_silence_and_its_end_as_news():
    log = Log()
    log.look(search(10))
    lines = [line for _ in range(125) for line in log.look(after=1.0)]
    assert lines[0].startswith("1:00 trial-a: search 10/1000  no news for 1:00: a long step, or its workers are being")
    assert len(lines) == 2
    assert "no news" not in log.look(search(5), after=60.0)[0]


def test_finished_trials_are_counted_and_silent():
    log = Log()
    log.look(search(1))
    log.view.finished("trial-a", "trial-a: top-1 90 %")
    assert log.out.getvalue().splitlines()[-1] == "0:00 1/2 trial-a: top-1 90 %"
    assert log.look(search(2), after=600.0) == []
    assert log.seen[-1] == {}


def test_what_ranks_take_of_their_machines_is_passed_on_and_not_shown():
    log = Log()
    usage = News("trial-a", "system", 1_800_000_000, numbers={"memory_usage_megabytes": 900.0}, rank=0)
    assert log.look(usage) == []
    assert log.seen[-1] == {"trial-a/rank0": usage}
    assert log.look(search(1)) == ["0:00 trial-a: search 1/1000  loss 1.23  expected ms 5"]
    log.view.forget("trial-a")
    log.look()
    assert log.seen[-1] == {}


def test_names_with_brackets_are_printed_as_they_stand():
    log = Log()
    wait = News("trial-a", "wait", waits_for="a node with [/bold]")
    log.look(wait)
    assert log.look(wait, after=9.0) == ["0:09 trial-a: wait  waits for a node with [/bold] (0:09 so far)"]


def test_a_terminal_shows_bars_and_no_lines():
    log = Log(terminal=True)
    assert log.look(search(1), News("trial-b", "workers", waits_for="[/bold]")) == []
    assert log.look(after=5.0) == []
    log.view.console.print(log.view._bars)
    text = log.out.getvalue()
    assert "trial-a" in text
    assert "1/1000" in text
    assert "waits for [/bold] (0:05 so far)" in text


def test_nothing_reads_news_after_the_block():
    reads = []
    view = LiveView(Console(file=io.StringIO()), lambda: reads.append(1) or {}, total=1, seconds=0.01)
    view.seconds = 0.01
    with view:
        pass
    count = len(reads)
    assert not view._thread.is_alive()
    assert len(reads) == count
