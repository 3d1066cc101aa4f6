"""Pictures of tables and verifications."""

from pathlib import Path

import pytest

from latency.checks.plots import heat_map, predicted_against_measured
from latency.checks.verdict import Probe, Report, Verdict
from latency.tables.estimate import cost_table
from latency.target import load_target
from supernet.errors import InputError
from supernet.presets import load_space

PAPER, PIXEL1 = load_space("proxyless-imagenet"), load_target("pixel1-published")


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


def test_a_space_without_choices_has_no_heat_map(tmp_path: Path) -> None:
    space = load_space("mobilenet-v2-32px")
    with pytest.raises(InputError, match="has no choices"):
        heat_map(space, cost_table(space, load_target("macs"), ""), tmp_path / "heat.png")
