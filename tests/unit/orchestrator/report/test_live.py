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


def test_a_line_a_minute_with_figures_and_time_left_whatever_begins_meanwhile():
    log = Log()
    assert log.look(search(1)) == ["0:00 trial-a: search 1/1000  loss 1.23  expected ms 5"]
    lines = [line for second in range(1, 301) for line in log.look(search(1 + second), after=1.0)]
    assert len(lines) == 5, "one a minute"
    assert lines[0] == "1:00 trial-a: search 61/1000  left 15:39  loss 1.23  expected ms 5"
    assert log.look(News("trial-a", "derive: judge", 0, 8), after=1.0) == []
    assert log.look(News("trial-a", "derive: judge", 5, 8), after=59.0)[0].startswith("6:00 trial-a: derive: judge 5/8")
    assert log.seen[-1]["trial-a"].phase == "derive: judge"


def test_large_figures_are_written_out():
    line = "0:00 trial-a: search 1/1000  images per second 1,426  expected macs 41,300,000  learning rate 0.0987"
    figures = {"images_per_second": 1426.4, "expected_macs": 4.13e7, "learning_rate": 0.09874}
    assert Log().look(search(1, **figures)) == [line]


@pytest.mark.parametrize("num_trials", [1, 2, 4, 5, 9, 30])
def test_a_night_has_a_line_a_minute_at_most_and_everything_told_of_every_five_minutes(num_trials):
    log, times, told = Log(), [], {f"trial-{number}": [0.0] for number in range(num_trials)}
    for second in range(3600):
        news = [News(key, f"phase {second // 700}", second % 700, 700, {"loss": 1.0}) for key in told]
        for line in log.look(*news, after=1.0):
            times.append(log.time)
            for part in line.split(" ", 1)[1].split(" | "):
                told[part.partition(":")[0]].append(log.time)
    assert min(b - a for a, b in pairwise(times)) >= LINE_SECONDS
    assert max(b - a for a, b in pairwise(times)) <= LINE_SECONDS + 1
    assert max(b - a for moments in told.values() for a, b in pairwise([*moments, 3600.0])) <= 300


def test_waiting_is_said_with_what_for_and_how_long():
    log = Log()
    wait = News("trial-a", "measure", waits_for="the device of ort-cpu-1t")
    assert log.look(wait) == []
    lines = [line for _ in range(130) for line in log.look(wait, after=1.0)]
    assert lines[0] == "0:05 trial-a: measure  waits for the device of ort-cpu-1t (0:05 so far)"
    assert lines[-1] == "2:05 trial-a: measure  waits for the device of ort-cpu-1t (2:05 so far)"
    assert len(lines) == 3


def test_a_device_that_is_free_is_not_said_to_be_waited_for():
    log = Log()
    assert log.look(News("trial-a", "measure", waits_for="the device of ort-cpu-1t")) == []
    assert log.look(News("trial-a", "measure", 1, 100), after=2.0) == ["0:02 trial-a: measure 1/100"]
    assert log.look(News("trial-a", "measure", 1, 100, waits_for="another measurement"), after=60.0) == []
    assert log.look(News("trial-a", "measure", 2, 100), after=1.0) == ["1:03 trial-a: measure 2/100"]


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
