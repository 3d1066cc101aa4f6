"""Rows, table, picture and page of a sweep, from results alone."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from latency.target import target_names
from orchestrator.plan.result import TrialResult
from orchestrator.report.front import front_notes, front_png, front_rows, front_table, report_html
from orchestrator.report.png import percent_limits
from orchestrator.report.rows import cost_label, cost_text, count_text, limit_text, ms_text, percent_text, tick_text


def done(trial: str, target: str, cost: float, top1: float, **more: Any) -> TrialResult:
    return TrialResult(
        sweep="night",
        trial=trial,
        target=target,
        objective="budget",
        seed=0,
        budget=cost * 1.1,
        predicted_cost=cost * 0.98,
        cost=cost,
        cost_error=cost * 0.02,
        top1=top1,
        num_params=123456,
        num_macs=7890123,
        architecture="k5e6-k3e3-skip",
        model_uri=f"models:/night-{target}/1",
        **more,
    )


FAILED = TrialResult(
    sweep="night",
    trial="lost",
    target="ort",
    objective="budget",
    seed=0,
    budget=4.0,
    status="failed",
    reason="board <lost>",
)
RESULTS = [
    FAILED,
    done("slow", "ort", 3.0, 0.9, doubt="measured 9 % above prediction"),
    done("best", "ort", 2.0, 0.95),
    done("fast", "ort", 1.0, 0.8),
    done("only", "torch", 9.0, 0.7),
]

COUNTED = replace(
    done("counted", "macs", 4.5e6, 0.85),
    unit="1",
    budget=5e6,
    predicted_cost=4.5e6,
    cost_error=0.0,
    architecture="k3e3-skip-skip",
    model_uri="",
)


def test_rows_are_ordered_and_the_front_is_each_targets_own() -> None:
    rows = front_rows(RESULTS)
    assert [row.result.trial for row in rows] == ["fast", "best", "slow", "lost", "only"]
    assert [row.on_front for row in rows] == [True, True, False, False, True]
    plain = [row.to_plain() for row in rows]
    assert json.loads(json.dumps(plain)) == plain
    assert plain[3]["cost"] is None
    assert plain[0]["on_front"]
    assert front_rows([]) == []


def test_a_failed_trial_with_numbers_beats_nobody() -> None:
    gate = done("gate", "ort", 0.5, 0.99, status="failed", reason="prediction and measurement disagree")
    rows = {row.result.trial: row.on_front for row in front_rows([*RESULTS, gate])}
    assert rows == {"fast": True, "best": True, "slow": False, "lost": False, "only": True, "gate": False}


def table_text(results: list[TrialResult], width: int) -> list[str]:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(front_table(front_rows(results)))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    return lines


@pytest.mark.parametrize("width", [80, 140])
def test_table_shows_every_number_with_its_unit_from_80_columns_on(width: int) -> None:
    lines = [" ".join(line.split()) for line in table_text([*RESULTS, COUNTED], width)]
    assert lines[3] == "macs 5 M 4.5 M 85.0 % 7.89 M *"
    assert lines[5] == "ort 1.100 ms 1.000 ms 80.0 % 7.89 M *"
    assert lines[7] == "3.300 ms 3.000 ms 90.0 % 7.89 M"
    assert lines[8] == "4.000 ms - failed -"
    assert sum("*" in line for line in lines) == 4


def test_no_name_of_a_target_is_cut_at_80_columns() -> None:
    """The longest packaged name stands in one line; longer ones take more lines, and nothing is lost."""
    longest = max(target_names(), key=len)
    assert any(line.split()[:1] == [longest] for line in table_text([done("t", longest, 100.0, 0.9)], 80))
    longer = f"{longest}-of-the-board-in-the-other-room"
    assert longer in "".join(
        line.split()[0] for line in table_text([done("t", longer, 100.0, 0.9)], 80)[3:] if line.strip()
    )


@pytest.mark.parametrize(
    ("top1", "images", "text"),
    [(26 / 45, 45, "57.8 % (43-71)"), (0.9421, 10000, "94.2 % (93.7-94.7)"), (0.9, None, "90.0 %")],
)
def test_an_accuracy_stands_with_its_interval_everywhere(
    top1: float, images: int | None, text: str, tmp_path: Path
) -> None:
    """On few images a per cent alone misleads; the longest packaged target still fits 80 columns."""
    longest = max(target_names(), key=len)
    result = replace(done("t", longest, 100.0, top1), num_test_images=images)
    (line,) = [line for line in table_text([result], 80) if longest in line]
    assert text in line
    html = report_html(front_rows([result]), tmp_path / "r.html").read_text()
    page = Page()
    page.feed(html)
    assert text in page.text
    notes = front_notes(front_rows([result]))
    assert (f"top-1 on {images} test images, with its 95 % interval" in notes) == (images is not None)
    assert text in figures(html)[0]


def test_notes_say_why_in_whole_lines() -> None:
    assert front_notes(front_rows([*RESULTS, COUNTED])) == [
        "* on the front of its target",
        "lost failed: board <lost>",
        "slow is in doubt: measured 9 % above prediction",
    ]


def test_picture_has_a_panel_per_target(tmp_path: Path) -> None:
    rows = front_rows(RESULTS)
    two = Image.open(front_png(rows, tmp_path / "deep" / "two.png", title="night"))
    one = Image.open(front_png([row for row in rows if row.result.target == "torch"], tmp_path / "one.png"))
    assert two.width > 1.5 * one.width
    pixels = np.asarray(two.convert("RGB")).reshape(-1, 3)
    for colour in ((0x1F, 0x6F, 0x8B), (0x9A, 0xA5, 0xB1), (0xD1, 0x49, 0x5B)):  # front, beaten, budget
        assert (np.abs(pixels - colour).max(1) < 8).sum() > 20


@pytest.mark.parametrize("results", [[], [FAILED], RESULTS[1:2], [COUNTED]])
def test_sparse_sweeps_are_drawn_too(results: list[TrialResult], tmp_path: Path) -> None:
    rows = front_rows(results)
    front_table(rows)
    assert Image.open(front_png(rows, tmp_path / "a.png")).width > 100
    # With a target to draw, the page holds its own drawing scripts.
    assert (report_html(rows, tmp_path / "a.html").stat().st_size > 1e6) == bool(results)


@pytest.mark.parametrize("percents", [[98.1, 98.1], [100.0], [99.7, 100.0], [20.0, 100.0], [97.5, 98.6]])
def test_an_axis_of_per_cents_holds_its_points_and_ends_at_100(percents: list[float]) -> None:
    low, high = percent_limits(percents)
    span = max(1.0, max(percents) - min(percents))
    assert low < min(percents) <= max(percents) < high <= 100 + 0.051 * span
    assert 0.6 * span <= high - low <= 1.4 * span


class Page(HTMLParser):
    """Collects tags that would fetch something, table cells and visible text outside scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.rows = 0
        self.text = ""
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.inside = tag
        self.rows += tag == "tr"
        if tag == "link" or names.get("src"):
            self.fetched.append(tag)

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.text += data


def figures(html: str) -> list[str]:
    return re.findall(r"Plotly\.newPlot\(\s*\"[^\"]+\",\s*(\[.*?\]),\s*\{", html, flags=re.DOTALL)


def test_page_is_self_contained_and_says_everything(tmp_path: Path) -> None:
    path = report_html(
        front_rows(RESULTS), tmp_path / "r.html", title="a <b> sweep", sections=[("Machine", "2 cores <fast>")]
    )
    html = path.read_text()
    page = Page()
    page.feed(html)
    assert page.fetched == []
    assert page.rows == 1 + len(RESULTS)
    for expected in (
        "a <b> sweep",
        "2 cores <fast>",
        "failed: board <lost>",
        "models:/night-torch/1",
        "k5e6-k3e3-skip",
    ):
        assert expected in page.text
    assert "5 trials on 2 targets: 4 finished, 3 on a front" in page.text
    calls = figures(html)
    assert len(calls) == 3  # two fronts, one comparison
    assert "models:\\u002fnight-ort\\u002f1" in calls[0] or "models:/night-ort/1" in calls[0]
    assert "k5e6-k3e3-skip" in calls[0]


def test_page_shows_counts_as_counts_and_compares_only_what_was_predicted(tmp_path: Path) -> None:
    html = report_html(front_rows([*RESULTS, COUNTED]), tmp_path / "r.html").read_text()
    page = Page()
    page.feed(html)
    assert "4.5 M" in page.text
    assert "2.000 ms" in page.text
    counted, ort, torch, comparison = figures(html)
    assert "at \\u003cb\\u003e4.5 M\\u003c" in counted
    assert " ms" not in counted
    assert "2.000 ms" in ort
    assert "9.000 ms" in torch
    assert '"name":"ort"' in comparison
    assert "macs" not in comparison
    assert "macs, counted" in html
    alone = report_html(front_rows([COUNTED]), tmp_path / "alone.html").read_text()
    assert len(figures(alone)) == 1
    assert "Predicted against" not in alone


def test_costs_as_text() -> None:
    assert [cost_text(n, "ms") for n in (None, 0.1234, 123.456)] == ["-", "0.123 ms", "123.5 ms"]
    assert [cost_text(n, "1") for n in (None, 12, 4.5e6)] == ["-", "12", "4.5 M"]
    assert (tick_text(12.345, "ms"), tick_text(12345.0, "1")) == ("12.3", "12.3 k")
    assert (cost_label("macs", "1"), cost_label("ort", "ms")) == ("macs, counted", "measured latency (ms)")


def test_a_typed_limit_is_kept_by_the_network_it_is_made_for() -> None:
    generator = np.random.default_rng(0)
    for cost in 10 ** generator.uniform(-3, 4, 200):
        assert cost < float(limit_text(cost, "ms")) < 1.03 * cost
    for count in generator.integers(1, 10**10, 200):
        assert float(limit_text(float(count), "1")) == count


def test_numbers_as_text() -> None:
    assert [count_text(n) for n in (None, 7, 999, 1234, 5.3e6, 2.5e9)] == ["-", "7", "999", "1.23 k", "5.3 M", "2.5 G"]
    assert [ms_text(n) for n in (None, 0.1234, 9.5, 123.456)] == ["-", "0.123", "9.500", "123.5"]
    assert [percent_text(n) for n in (None, 0.9567)] == ["-", "95.7 %"]
