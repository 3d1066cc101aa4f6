"""What the progress view prints where the output is a log."""

import io
import time

import pytest
from rich.console import Console

from orchestrator.report.live import LiveView, clock


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3723, "1:02:03")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def news(step, phase="search"):
    return {
        "trial-a": {
            "key": "trial-a",
            "phase": phase,
            "step": step,
            "num_steps": 100,
            "numbers": {"loss": 1.234, "expected_ms": 5.0},
        }
    }


def view_lines(states, finish=None):
    out = io.StringIO()
    current = {"news": {}}
    seen = []
    view = LiveView(Console(file=out, width=200), lambda: current["news"], total=2, seen=seen.append, seconds=0.01)
    view.seconds = 0.02
    with view:
        for state in states:
            current["news"] = state
            time.sleep(0.1)
        if finish:
            view.finished("trial-a", finish)
            time.sleep(0.1)
    return out.getvalue().splitlines(), seen


def test_a_line_per_quarter_with_figures_and_time_left():
    lines, seen = view_lines([news(1), news(10), news(30), news(60)])
    assert len(lines) == 3
    assert "trial-a: search 1/100  loss 1.23  expected ms 5" in lines[0]
    assert "search 30/100  left 0:0" in lines[1]
    assert "search 60/100" in lines[2]
    assert any(item for item in seen)


def test_finished_trials_are_counted_and_silent():
    lines, _ = view_lines([news(1)], finish="trial-a: top-1 90 %")
    assert lines[-1].endswith("1/2 trial-a: top-1 90 %")
