"""Table and notes of a sweep in a terminal, and intervals wherever accuracies stand."""

from dataclasses import replace

import pytest
from report_cases import COUNTED, PUBLISHED, REJECTED, RESULTS, Page, done, figures, weighted
from rich.console import Console

from latency.target import target_names
from orchestrator.plan.result import TrialResult
from orchestrator.report.front import front_notes, front_table
from orchestrator.report.page import report_html
from orchestrator.report.png import front_png
from orchestrator.report.rows import front_rows


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
    assert "88.0 ms 80.0 ms (published) 75.0 %" in " ".join(" ".join(table_text([PUBLISHED], width)).split())


def test_trials_of_weights_are_told_apart() -> None:
    """Said before: a budget of - in every row, and nothing else of what was asked."""
    lost = replace(weighted("ort-w0.3", 0.3, 1.5, 0.85), status="failed", cost=None, top1=None, num_macs=None)
    results = [weighted("ort-w0.05", 0.05, 2.0, 0.95), weighted("ort-w1", 1.0, 1.0, 0.8), lost]
    lines = [" ".join(line.split()) for line in table_text(results, 80)]
    assert lines[1] == "target weight measured top-1 MACs"
    assert lines[3:6] == ["ort 1 1.000 ms 80.0 % 7.89 M *", "0.05 2.000 ms 95.0 % 7.89 M *", "0.3 - failed -"]
    assert "weight" not in " ".join(table_text(RESULTS, 80))


def test_no_name_of_a_target_is_cut_at_80_columns() -> None:
    """The longest packaged name stands in one line; longer ones take more lines, and nothing is lost."""
    longest = max(target_names(), key=len)
    assert any(line.split()[:1] == [longest] for line in table_text([done("t", longest, 100.0, 0.9)], 80))
    longer = f"{longest}-of-the-board-in-the-other-room"
    assert longer in "".join(
        line.split()[0] for line in table_text([done("t", longer, 100.0, 0.9)], 80)[3:] if line.strip()
    )


def test_the_long_name_of_a_baseline_leaves_a_target_its_line() -> None:
    """Said before: one letter of the target a line."""
    known = replace(done("b", "openvino-cpu-1t", 0.123, 0.9), baseline="mobilenet-v3-small-32px-stem2", budget=None)
    lines = table_text([done("t", "openvino-cpu-1t", 0.1, 0.8), known], 80)
    assert len(lines) < 9
    words = [line.split() for line in lines[3:] if line.strip()]
    assert words[0][0] == "openvino-cpu-1t"


@pytest.mark.parametrize(
    ("top1", "images", "text"),
    [(26 / 45, 45, "57.8 % (43-71)"), (0.9421, 10000, "94.2 % (93.7-94.7)"), (0.9, None, "90.0 %")],
)
def test_an_accuracy_stands_with_its_interval_everywhere(top1: float, images: int | None, text: str) -> None:
    """On few images a per cent alone misleads; the longest packaged target still fits 80 columns."""
    longest = max(target_names(), key=len)
    result = replace(done("t", longest, 100.0, top1), num_test_images=images)
    (line,) = [line for line in table_text([result], 80) if longest in line]
    assert text in line
    html = report_html(front_rows([result]))
    page = Page()
    page.feed(html)
    assert text in page.text
    notes = front_notes(front_rows([result]))
    assert (f"top-1 on {images} test images, with its 95 % interval" in notes) == (images is not None)
    assert text in figures(html)[0]


def test_a_rejected_network_is_shown_and_beats_nobody() -> None:
    rows = front_rows([*RESULTS, REJECTED])
    assert [row.result.trial for row in rows if row.on_front] == ["fast", "best", "only"]
    lines = [" ".join(line.split()) for line in table_text([*RESULTS, REJECTED], 80)]
    assert "0.550 ms 0.500 ms rejected 7.89 M" in lines
    assert "off was rejected (top-1 99.0 %): 30 % slower than <predicted>" in front_notes(rows)
    page = Page()
    page.feed(report_html(rows))
    assert "rejected: 30 % slower than <predicted>" in page.text
    assert "3 on a front, 1 rejected" in page.text
    assert len(front_png(rows)) > 10_000


def test_notes_say_why_in_whole_lines() -> None:
    assert front_notes(front_rows([*RESULTS, COUNTED])) == [
        "* on the front of its target",
        "lost failed: board <lost>",
        "slow is in doubt: measured 9 % above prediction",
    ]
