"""The picture of a sweep."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from report_cases import COUNTED, FAILED, RESULTS

from orchestrator.plan.result import TrialResult
from orchestrator.report.front import front_table
from orchestrator.report.page import report_html
from orchestrator.report.png import front_png, percent_limits
from orchestrator.report.rows import front_rows


def test_picture_has_a_panel_per_target() -> None:
    rows = front_rows(RESULTS)
    two = Image.open(BytesIO(front_png(rows)))
    one = Image.open(BytesIO(front_png([row for row in rows if row.result.target == "torch"])))
    assert two.width > 1.5 * one.width
    pixels = np.asarray(two.convert("RGB")).reshape(-1, 3)
    for colour in ((0x1F, 0x6F, 0x8B), (0x9A, 0xA5, 0xB1), (0xD1, 0x49, 0x5B)):  # front, beaten, budget
        assert (np.abs(pixels - colour).max(1) < 8).sum() > 20


@pytest.mark.parametrize("results", [[], [FAILED], RESULTS[1:2], [COUNTED]])
def test_sparse_sweeps_are_drawn_too(results: list[TrialResult]) -> None:
    rows = front_rows(results)
    front_table(rows)
    assert Image.open(BytesIO(front_png(rows))).width > 100
    # With a target to draw, the page holds its own drawing scripts.
    assert (len(report_html(rows)) > 1e6) == bool(results)


@pytest.mark.parametrize("percents", [[98.1, 98.1], [100.0], [99.7, 100.0], [20.0, 100.0], [97.5, 98.6]])
def test_an_axis_of_per_cents_holds_its_points_and_ends_at_100(percents: list[float]) -> None:
    low, high = percent_limits(percents)
    span = max(1.0, max(percents) - min(percents))
    assert low < min(percents) <= max(percents) < high <= 100 + 0.051 * span
    assert 0.6 * span <= high - low <= 1.4 * span
