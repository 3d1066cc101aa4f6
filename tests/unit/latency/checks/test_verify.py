"""A whole verification on a simulated machine with known truth."""

from functools import partial
from pathlib import Path

import pytest
from latency_cases import made_up_table, simulated_run

from latency.checks.verdict import Verdict
from latency.checks.verify import verify
from latency.tables.build import build_table
from latency.target import load_target
from supernet.errors import InputError
from supernet.presets import load_space


def test_a_space_without_networks_beside_the_calibration_is_refused() -> None:
    with pytest.raises(InputError, match=r"mobilenet-v2: calibration takes all of its networks \(1\)"):
        verify(made_up_table(load_space("mobilenet-v2")))


def test_a_table_of_the_same_machine_holds_and_every_network_is_told(tmp_path: Path) -> None:
    """Whole networks are 1.1 times as slow as the sum of their blocks, when the table is made and afterwards."""
    space, run = load_space("digits"), partial(simulated_run, scale=1.1)
    table = build_table(space, load_target("ort-cpu-1t"), tmp_path, run=run)
    report = verify(table, num_random=12, run=run)
    assert report.verdict == Verdict.HOLDS, report.reasons
    assert sum(probe.kind == "random" for probe in report.probes) == 12
    assert {probe.kind for probe in report.probes} == {"random", "structured"}
    for probe in report.probes:
        assert probe.measured_ms == pytest.approx(probe.predicted_ms) == pytest.approx(1.1 * probe.sum_ms)


def test_a_machine_that_moved_since_tells_nothing(tmp_path: Path) -> None:
    space = load_space("digits")
    table = build_table(space, load_target("ort-cpu-1t"), tmp_path, run=simulated_run)
    report = verify(table, num_random=12, run=partial(simulated_run, scale=1.2))
    assert report.verdict == Verdict.TOO_NOISY
    assert report.drift == pytest.approx(1.2)
