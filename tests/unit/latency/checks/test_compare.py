"""Comparing targets, published and counted costs, ranges of a space: by hand and against the paper's figures."""

from pathlib import Path

import pytest
from latency_cases import made_up_table
from repository import ROOT

from latency.checks.compare import compare_targets, inversions, row_margins, stage_ratios
from latency.checks.plots import heat_map, predicted_against_measured
from latency.checks.verdict import Probe, Report, Verdict
from latency.errors import MissingLatency
from latency.tables.describe import expected_costs, list_targets
from latency.tables.estimate import cost_table, latency_table, predict
from latency.tables.file import write_table
from latency.tables.published import published_entries
from latency.target import load_target
from supernet.cost import CostTable, count_cost
from supernet.errors import InputError
from supernet.presets import load_network, load_space, read_preset

PAPER, DIGITS = load_space("proxyless-imagenet"), load_space("digits")
PIXEL1 = load_target("pixel1-published")


def test_the_published_table_has_72_entries_and_the_published_fixed_part() -> None:
    stored, _ = read_preset("targets", str(ROOT / "configs/targets/tables/pixel1.yaml"))
    entries = published_entries(stored)
    assert len(entries) == 72
    assert {"k5e1", "k7e1"} <= {op.short for op, *_ in entries}
    costs = cost_table(PAPER, PIXEL1, "")
    assert costs.fixed == pytest.approx(11.364, abs=0.0015)
    assert costs.unit == "ms"


def test_the_published_space_has_the_published_range() -> None:
    """Sums of the fact sheet's columns: first blocks of the stages, then three equal ones each (stage 6: one)."""
    firsts = {
        "k3e3": 6.241 + 3.941 + 1.810 + 1.961 + 1.648 + 2.644,
        "k7e6": 22.105 + 9.191 + 4.252 + 5.090 + 3.788 + 5.828,
    }
    others = {"k3e3": 6.273 + 2.857 + 1.841 + 2.455 + 2.054, "k7e6": 18.541 + 8.377 + 4.880 + 6.647 + 4.693}
    found = expected_costs(PAPER, PIXEL1, "")
    fixed = 4.084 + 3.089 + 0.310 + 3.882
    assert found["min_ms"] == pytest.approx(fixed + firsts["k3e3"])
    assert found["min_without_skips_ms"] == pytest.approx(fixed + firsts["k3e3"] + 3 * others["k3e3"])
    assert found["max_ms"] == pytest.approx(fixed + firsts["k7e6"] + 3 * others["k7e6"])
    assert found["min_without_skips_ms"] < found["uniform_ms"] < found["max_ms"]


def test_the_32_wide_network_lacks_exactly_three_entries() -> None:
    space, architecture = load_network("proxyless-mobile")
    with pytest.raises(MissingLatency) as caught:
        predict(latency_table(space, PIXEL1, ""), architecture)
    assert "no entry for k5e3 at stage1.0, k3e3 at stage1.1, k7e3 at stage2.0 (3 in all)" in str(caught.value)
    assert "measure a target of your own" in str(caught.value)
    with pytest.raises(MissingLatency):
        cost_table(load_space("proxyless-imagenet-32"), PIXEL1, "")


@pytest.mark.parametrize("name", ["params", "macs"])
def test_counts_are_targets(name: str) -> None:
    network = load_network("proxyless-mobile")
    found = expected_costs(PAPER, load_target(name), "", network)
    assert found["unit"] == "1"
    assert found["architecture"] == count_cost(*network)[f"num_{name}"]
    assert found["min"] < found["uniform"] < found["max"]


def test_an_architecture_of_another_space_is_refused_on_a_measured_target(tmp_path: Path) -> None:
    target = load_target("ort-cpu-1t")
    write_table(made_up_table(), tmp_path)
    own = expected_costs(DIGITS, target, tmp_path, (DIGITS, DIGITS.architecture((0,) * 6)))
    assert own["min_ms"] <= own["architecture_ms"] <= own["max_ms"]
    assert own["architecture_error_ms"] == pytest.approx(0.02 * own["architecture_ms"])
    with pytest.raises(InputError, match="belongs to the space 'proxyless-mobile'"):
        expected_costs(DIGITS, target, tmp_path, load_network("proxyless-mobile"))


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


def test_all_targets_are_listed_with_a_reason_if_they_cannot_run() -> None:
    found = {target["name"]: target for target in list_targets()}
    assert found["ort-cpu-1t"]["runs_here"]
    assert found["pixel1-published"]["runs_here"]
    assert all(target["runs_here"] != bool(target["reason"]) for target in found.values())


def test_pictures_are_drawn(tmp_path: Path) -> None:
    from matplotlib.image import imread

    heat_map(PAPER, cost_table(PAPER, PIXEL1, ""), tmp_path / "heat.png")
    probes = [Probe("random", str(i), "a", 1.0 + i, 0.1, 1.0, 4e6, 1e8, 1.2 + i, 0.01, 1.1 + i) for i in range(3)]
    probes.append(Probe("structured", "small", "b", 0.5, 0.1, 1.0, 2e6, 1e7, 0.4, 0.01, 0.45))
    report = Report("s", "t", Verdict.FALLS_SHORT, (), {}, 1.01, 0.01, 0.01, 0.9, tuple(probes), 3.0, 0.9)
    predicted_against_measured(report, tmp_path / "scatter.png")
    for name in ("heat.png", "scatter.png"):
        image = imread(tmp_path / name)
        assert image.shape[0] > 300
        assert image.std() > 0.05  # something is on it
