"""What a verification concludes from made-up measurements."""

import random
from dataclasses import replace

import pytest
from latency_cases import SENTINELS, made_up_result, made_up_table

from latency.checks.accuracy import Accuracy
from latency.checks.probe_networks import random_paths, structured_paths
from latency.checks.verdict import GOALS, GOALS_INT8, Probe, Report, Verdict, anchor, judge, shortcomings
from latency.measuring.sentinels import SentinelStats
from latency.measuring.summary import Stats
from latency.tables.calibrate import CalibrationNetwork
from latency.tables.chains import calibration_paths
from latency.tables.estimate import predict
from latency.tables.table import LatencyTable
from latency.target import load_target
from supernet.cost import macs_table, params_table
from supernet.presets import load_space

PAPER = load_space("proxyless-imagenet")


def calibrated_table(target: str = "ort-cpu-1t") -> LatencyTable:
    """Return a table whose calibration networks cost what it predicts."""
    table = made_up_table(PAPER, load_target(target))
    networks = []
    for path in calibration_paths(PAPER):
        architecture = PAPER.architecture(path)
        params, total = params_table(PAPER).total(path), table.sum_ms(architecture)
        networks.append(CalibrationNetwork(architecture.id, params, total, predict(table, architecture)[0], 0.0))
    return replace(table, calibration=replace(table.calibration, networks=tuple(networks)))


def judged(
    noise: float, target: str = "ort-cpu-1t", repeat: float = 0.005, moved: float = 1.0, **changes: object
) -> Report:
    """Judge a table on networks that cost what it predicts, give or take `noise`, on a machine `moved` times slower."""
    table, rng, probes, latencies = calibrated_table(target), random.Random(4), [], {}
    named = [("random", str(i), path) for i, path in enumerate(random_paths(PAPER, 30, 1))]
    named += [("structured", name, path) for name, path in structured_paths(PAPER).items()]
    for kind, name, path in named:
        architecture = PAPER.architecture(path)
        predicted, bar = predict(table, architecture)
        measured = moved * predicted * (1 + rng.uniform(-noise, noise))
        macs, total = macs_table(PAPER).total(path), table.sum_ms(architecture)
        params = params_table(PAPER).total(path)
        probes.append(Probe(kind, name, architecture.id, predicted, bar, total, params, macs, measured, repeat, repeat))
        latencies[f"{kind} {name}"] = measured
    latencies |= {anchor(network.architecture): moved * network.measured_ms for network in table.calibration.networks}
    return judge(table, probes, made_up_result(latencies, **changes))


def test_a_good_table_holds() -> None:
    report = judged(0.0)
    assert report.verdict == Verdict.HOLDS, report.reasons
    assert report.accuracies["random"]["table"].within_5 == 1.0
    assert report.accuracies["random"]["sum"].mape > 0.08  # the plain sum lacks scale and offset
    assert report.accuracies["structured"]["macs"].mape > report.accuracies["structured"]["table"].mape


def test_what_the_whole_machine_moved_by_is_told_apart_from_the_table() -> None:
    report = judged(0.0, moved=0.975)
    assert report.verdict == Verdict.HOLDS, report.reasons
    assert report.drift == pytest.approx(0.975)
    assert report.accuracies["random"]["table"].bias == pytest.approx(0.0, abs=1e-9)
    assert report.accuracies["random"]["table_as_written"].bias == pytest.approx(1 / 0.975 - 1)


def test_a_bad_table_falls_short_and_says_in_what() -> None:
    report = judged(0.2)
    assert report.verdict == Verdict.FALLS_SHORT
    assert any(reason.startswith("random networks within 10 %: 0.") for reason in report.reasons)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"clean_share": 0.2}, "only 20% of the calls ran undisturbed"),
        ({"num_unlike": 11}, "in 11 of 16 phases a reference kernel"),
        ({"sentinels": {"cache": SentinelStats(1.06 * SENTINELS["cache"], 0.0)}}, "moved by +6.0% since"),
        ({"repeat": 0.03}, "repeat to 3.0% in the median"),
        ({"moved": 1.06}, "the calibration networks moved by +6.0% since"),
    ],
)
def test_a_noisy_machine_tells_nothing_good_or_bad(changes: dict, reason: str) -> None:
    for noise in (0.002, 0.2):
        report = judged(noise, **changes)
        assert report.verdict == Verdict.TOO_NOISY
        assert any(reason in text for text in report.reasons)


def test_int8_has_goals_of_its_own() -> None:
    figures = Accuracy(30, 0.9, 1.0, 0.028, 0.0, 0.1, 0.09, 0.85, 0.85)
    macs = replace(figures, mape=0.05)
    accuracies = {"random": {"table": figures}, "structured": {"table": figures, "macs": macs}}
    assert shortcomings(accuracies, GOALS_INT8) == ()
    assert len(shortcomings(accuracies, GOALS)) == 4
    worse_than_macs = {"structured": {"table": figures, "macs": replace(figures, mape=0.01)}}
    assert shortcomings(worse_than_macs, GOALS_INT8) == (
        "mean error on structured networks, against the MACs line: 0.028, wanted <= 0.010",
    )
    assert judged(0.03, "openvino-cpu-int8-1t").verdict == Verdict.HOLDS


def test_an_item_without_clean_calls_makes_the_run_noisy() -> None:
    uncertain = Stats(9.0, float("inf"), float("inf"), 10.0, 9.0, 20, 1)
    assert judged(0.01, repeat=uncertain.repeat).verdict == Verdict.TOO_NOISY
