"""What two targets disagree about: ratios and inversions by hand, tables wherever they were measured."""

from pathlib import Path

import pytest
from latency_cases import made_up_table

from latency.checks.compare import compare_targets, inversions, row_margins, stage_ratios
from latency.tables.estimate import cost_table
from latency.tables.file import write_table
from latency.target import load_target
from supernet.cost import CostTable
from supernet.errors import InputError
from supernet.presets import load_space

PAPER, DIGITS = load_space("proxyless-imagenet"), load_space("digits")


def test_ratios_of_macs_are_those_of_the_operators() -> None:
    """At equal resolution, expansion doubles everything; kernels only change the depthwise part."""
    macs = cost_table(PAPER, load_target("macs"), "")
    ratios = stage_ratios(PAPER, macs)
    assert list(ratios) == ["stage1", "stage2", "stage3", "stage4", "stage5", "stage6"]
    assert ratios["stage6"]["e6/e3"] == pytest.approx(2.0, abs=1e-6)
    width, out = 192, 320
    depthwise = {k: k * k * width for k in (3, 7)}
    dense = width * width + width * out
    assert ratios["stage6"]["k7/k3"] == pytest.approx((dense + depthwise[7]) / (dense + depthwise[3]), rel=1e-6)


def test_ranked_differently_is_found_and_noise_is_not() -> None:
    space = load_space({"base": "digits"})
    equal = tuple(tuple(1.0 for _ in position.candidates) for position in space.positions)

    def with_first(*values: float) -> CostTable:
        return CostTable("t", "ms", 0.0, ((*values, *equal[0][2:]), *equal[1:]))

    none, margins = [0.0] * 6, [0.2] * 6
    first, second = with_first(0.5, 0.6), with_first(0.6, 0.5)
    (found,) = inversions(space, first, second, none, none)
    assert (found.layer, found.faster_first, found.faster_second) == ("stage1.0", "k3e3", "k3e6")
    assert inversions(space, first, second, margins, none) == []
    assert inversions(space, first, first, none, none) == []


def test_margins_are_twice_the_largest_error_of_the_position_calibrated() -> None:
    table = made_up_table()
    assert row_margins(table) == pytest.approx([2 * 1.1 * 0.001] * 6)


def test_two_kept_tables_are_compared_wherever_they_were_measured(tmp_path: Path) -> None:
    first, second = load_target("ort-cpu-1t"), load_target("openvino-cpu-int8-1t")
    write_table(made_up_table(DIGITS, first, seed=1), tmp_path)
    table = made_up_table(DIGITS, first, seed=2)
    write_table(
        type(table)(**{**table.__dict__, "target": second, "fingerprint": {**table.fingerprint, "gpu": "elsewhere"}}),
        tmp_path,
    )
    found = compare_targets(DIGITS, first, second, tmp_path)
    assert -0.5 < found.tau < 0.5
    assert found.inversions
    assert compare_targets(DIGITS, first, first, tmp_path).tau == pytest.approx(1.0)
    with pytest.raises(InputError, match="no latency table"):
        compare_targets(DIGITS, first, load_target("torch-cpu-1t"), tmp_path)
