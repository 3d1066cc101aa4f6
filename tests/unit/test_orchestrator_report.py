"""Rows, table, picture and page of a sweep, from results alone."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from orchestrator.report import front_png, front_rows, front_table, report_html
from orchestrator.report_rows import count_text, ms_text, percent_text
from orchestrator.result import TrialResult

KEYS = {"target", "budget_ms", "predicted_ms", "latency_ms", "top1", "num_params", "num_macs"} | {
    "architecture",
    "model_uri",
    "on_front",
    "status",
}


def done(trial: str, target: str, latency_ms: float, top1: float, **more: Any) -> TrialResult:
    return TrialResult(
        sweep="night",
        trial=trial,
        target=target,
        objective="budget",
        seed=0,
        budget_ms=latency_ms * 1.1,
        predicted_ms=latency_ms * 0.98,
        latency_ms=latency_ms,
        latency_error_ms=latency_ms * 0.02,
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
    budget_ms=4.0,
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


def test_rows_are_ordered_and_the_front_is_each_targets_own() -> None:
    rows = front_rows(RESULTS)
    assert [row["trial"] for row in rows] == ["fast", "best", "slow", "lost", "only"]
    assert [row["on_front"] for row in rows] == [True, True, False, False, True]
    assert all(set(row) >= KEYS for row in rows)
    assert json.loads(json.dumps(rows)) == rows
    assert rows[3]["latency_ms"] is None
    assert front_rows([]) == []


def test_a_failed_trial_with_numbers_beats_nobody() -> None:
    gate = done("gate", "ort", 0.5, 0.99, status="failed", reason="prediction and measurement disagree")
    rows = {row["trial"]: row["on_front"] for row in front_rows([*RESULTS, gate])}
    assert rows == {"fast": True, "best": True, "slow": False, "lost": False, "only": True, "gate": False}


@pytest.mark.parametrize("width", [80, 140])
def test_table_shows_every_number_from_80_columns_on(width: int) -> None:
    console = Console(width=width, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(front_table(front_rows(RESULTS)))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    lines = [line.split() for line in text.splitlines()]
    assert lines[3][:11] == ["ort", "1.100", "0.980", "1.000", "80.0", "%", "123", "k", "7.89", "M", "*"]
    assert lines[5][:9] == ["3.300", "2.940", "3.000", "90.0", "%", "123", "k", "7.89", "M"]
    assert "lost failed: board <lost>" in text
    assert "slow is in doubt: measured 9 % above prediction" in text
    assert (sum("*" in line for line in lines)) == 4  # three on a front, one in the explanation


def test_picture_has_a_panel_per_target(tmp_path: Path) -> None:
    rows = front_rows(RESULTS)
    two = Image.open(front_png(rows, tmp_path / "deep" / "two.png", title="night"))
    one = Image.open(front_png([row for row in rows if row["target"] == "torch"], tmp_path / "one.png"))
    assert two.width > 1.5 * one.width
    pixels = np.asarray(two.convert("RGB")).reshape(-1, 3)
    for colour in ((0x1F, 0x6F, 0x8B), (0x9A, 0xA5, 0xB1), (0xD1, 0x49, 0x5B)):  # front, beaten, budget
        assert (np.abs(pixels - colour).max(1) < 8).sum() > 20


@pytest.mark.parametrize("results", [[], [FAILED], RESULTS[1:2]])
def test_sparse_sweeps_are_drawn_too(results: list[TrialResult], tmp_path: Path) -> None:
    rows = front_rows(results)
    front_table(rows)
    assert Image.open(front_png(rows, tmp_path / "a.png")).width > 100
    assert report_html(rows, tmp_path / "a.html").stat().st_size > 1e6


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
    calls = re.findall(r"Plotly\.newPlot\(\s*\"[^\"]+\",\s*(\[.*?\]),\s*\{", html, flags=re.DOTALL)
    assert len(calls) == 3  # two fronts, one comparison
    assert "models:\\u002fnight-ort\\u002f1" in calls[0] or "models:/night-ort/1" in calls[0]
    assert "k5e6-k3e3-skip" in calls[0]


def test_numbers_as_text() -> None:
    assert [count_text(n) for n in (None, 7, 999, 1234, 5.3e6, 2.5e9)] == ["-", "7", "999", "1.23 k", "5.3 M", "2.5 G"]
    assert [ms_text(n) for n in (None, 0.1234, 9.5, 123.456)] == ["-", "0.123", "9.500", "123.5"]
    assert [percent_text(n) for n in (None, 0.9567)] == ["-", "95.7 %"]
