"""The gate: what disagrees rejects a network, what is only uncertain is said, and what agrees is let through."""

from dataclasses import replace
from math import nan

import pytest

from orchestrator.plan.requirements import GateConfig, ParityConfig
from orchestrator.trial.costs import NetworkCost
from orchestrator.trial.gate import Difference, Figures, judge

GATE = GateConfig()
SOUND = Figures(
    unit="ms",
    predicted=1.0,
    table_error=0.02,
    budget=1.1,
    cost=NetworkCost(1.02, 0.01, 1.1, ""),
    differences={"model.onnx": Difference("fp32", 1e-6), "model.pt2": Difference("bf16", 0.02)},
    file="model.onnx (fp32)",
    wanted_top1=0.9,
    top1=0.9,
    num_images=1000,
    counted={"params": (1e6, 1e6), "file_mib": (3.9, 4.0)},
)


def measured(ms: float, error: float = 0.01, noise: str = "") -> NetworkCost:
    return NetworkCost(ms, error, 1.1 * ms, noise)


def test_what_agrees_is_let_through_without_a_word():
    for figures in (SOUND, replace(SOUND, budget=None), replace(SOUND, cost=NetworkCost.counted(1.0), unit="1")):
        verdict = judge(figures, GATE)
        assert (verdict.reason, verdict.doubts, verdict.correctable) == ("", (), False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cost": measured(1.3), "budget": 2.0}, "measured 1.300 ms, predicted 1.000 ms (+30%; 10% allowed"),
        ({"cost": measured(1.15), "budget": 2.0}, "(+15%; 10% allowed, gate.prediction_error)"),
        ({"cost": measured(1.25), "budget": 2.0, "table_error": 0.5}, "(+25%; 20% allowed"),
        ({"predicted": 1.3, "cost": measured(1.0)}, "predicted 1.300 ms (-23%"),
        ({"predicted": 0.7, "cost": measured(1.0)}, "predicted 0.700 ms (+43%"),
        ({"differences": {"model.onnx": Difference("fp32", nan)}}, "model.onnx (fp32) differs from the trained"),
        ({"differences": {"model.pt2": Difference("bf16", 0.06)}}, "by 6.0e-02; 5e-02 is allowed (gate.parity.bf16)"),
        ({"top1": 0.86}, "model.onnx (fp32) has a top-1 of 86.0%, the trained network 90.0%; 1.0% less is allowed"),
        ({"counted": {"file_mib": (4.1, 4.0)}}, "file_mib is 4.1; at most 4 is allowed (limits.file_mib)"),
        ({"top1": 0.1, "num_images": 45}, "has a top-1 of 10.0%"),
    ],
)
def test_what_disagrees_is_rejected_and_no_lower_limit_would_mend_it(changes, said):
    verdict = judge(replace(SOUND, **changes), GATE)
    assert said in verdict.reason
    assert not verdict.correctable
    assert not verdict.doubts


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cost": measured(0.83)}, "(-17%; 10% allowed"),
        ({"cost": measured(1.15, error=0.05), "budget": 2.0}, "(+15%; 10% allowed"),
        ({"cost": measured(1.15, error=None), "budget": 2.0}, "(+15%; 10% allowed"),
        ({"cost": measured(1.08, error=0.02)}, "standard error of 1.9%: the budget of 1.100 ms is kept by less than 2"),
        ({"cost": measured(1.0, noise="load 3")}, "noisy measurement: load 3"),
        ({"top1": 0.9 - 1 / 45, "num_images": 45}, "which 45 images do not show for certain"),
    ],
)
def test_what_is_only_uncertain_is_said(changes, said):
    verdict = judge(replace(SOUND, **changes), GATE)
    assert verdict.reason == ""
    (doubt,) = verdict.doubts
    assert said in doubt


def test_a_table_that_knows_itself_less_well_is_believed_further():
    slower = replace(SOUND, cost=measured(1.15), budget=2.0)
    assert judge(slower, GATE).reason
    known = judge(replace(slower, table_error=0.08), GATE)
    assert (known.reason, known.doubts) == ("", ())


def test_over_the_budget_alone_is_worth_a_lower_limit():
    over = replace(SOUND, budget=1.01)
    verdict = judge(over, GATE)
    assert verdict.reason == "measured 1.020 ms, 1.0% over the budget of 1.010 ms (0% allowed, gate.over_budget)"
    assert verdict.correctable
    assert judge(over, GateConfig(over_budget=0.01)).reason == ""
    hopeless = judge(replace(over, cost=measured(1.5)), GATE)
    assert hopeless.over_budget
    assert not hopeless.correctable, "the table is off, for any limit"
    counted = replace(over, unit="1", predicted=5e6, budget=4.9e6, cost=NetworkCost.counted(5e6))
    assert "measured 5 M, 2.0% over the budget of 4.9 M" in judge(counted, GATE).reason


@pytest.mark.parametrize("cost", [measured(1.11), measured(1.3), measured(1.11, error=None)])
def test_what_is_too_slow_by_a_figure_that_cannot_be_believed_corrects_nothing(cost):
    """Said before: another network of a lower limit may pass, and hours went into it."""
    for disturbed in (replace(cost, noise="load 3"), replace(cost, moved="30% slower", slowed=True)):
        verdict = judge(replace(SOUND, cost=disturbed), GATE)
        assert verdict.over_budget
        assert verdict.disturbed in ("load 3", "30% slower")
        assert not verdict.correctable
    kept = judge(replace(SOUND, cost=measured(1.0, noise="load 3")), GATE)
    assert (kept.disturbed, kept.too_slow) == ("", False)
    assert judge(replace(SOUND, cost=replace(cost, noise="", moved="30% faster")), GATE).disturbed == ""


def test_tolerances_are_the_users():
    off = replace(SOUND, cost=measured(1.5), budget=1.0, top1=0.5, differences={"model.pt2": Difference("bf16", 0.3)})
    assert len(judge(off, GATE).others) == 3
    loose = GateConfig(prediction_error=0.6, over_budget=0.5, max_top1_loss=0.5, parity=ParityConfig(bf16=0.4))
    assert judge(off, loose).reason == ""
    assert loose.parity.fp32 == GATE.parity.fp32
