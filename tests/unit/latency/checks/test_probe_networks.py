"""Which networks predictions are tested on: many, distinct, and none that calibration took."""

from pathlib import Path

import pytest

from latency.checks.probe_networks import random_paths, structured_paths
from latency.tables.chains import calibration_paths
from supernet.cost import macs_table
from supernet.presets import load_space

PAPER = load_space("proxyless-imagenet")


def test_networks_of_the_paper_are_many_distinct_and_fresh() -> None:
    structured, drawn = structured_paths(PAPER), random_paths(PAPER, 30, seed=0)
    known = set(calibration_paths(PAPER))
    assert len(structured) >= 10
    assert {"all-k3e3", "all-k5e6", "small", "shallow-heavy", "early-heavy", "late-heavy", "proxyless-mobile"} <= (
        structured.keys()
    )
    everything = [*structured.values(), *drawn]
    assert len(set(everything)) == len(everything)
    assert not known & set(everything)
    assert len(drawn) == 30
    assert drawn != random_paths(PAPER, 30, seed=1)
    costs = macs_table(PAPER)
    half = costs.total(structured["early-heavy"]), costs.total(structured["late-heavy"])
    assert min(half) > costs.total(structured["all-k3e3"])
    assert max(half) < costs.maximum


@pytest.mark.parametrize("name", ["digits", "mbconv-32px"])
def test_other_spaces_have_structured_networks_too(name: str) -> None:
    space = load_space(name)
    for path in structured_paths(space).values():
        space.architecture(path)
    assert len(structured_paths(space)) >= 10


def test_a_tiny_space_gives_the_networks_it_has() -> None:
    rows = [
        *load_space("digits").to_dict()["rows"][:1],
        {"name": "keep", "op": "mbconv", "kernel_size": 3, "expand_ratio": [1, 2], "channels": 16, "skip": True},
        {"name": "classifier", "op": "classifier"},
    ]
    space = load_space({"base": "digits", "rows": rows})
    known = set(calibration_paths(space))
    assert all(path not in known for path in random_paths(space, 30, 0))


def test_candidates_without_a_multiplication_are_choices_like_others(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pools_of_a_test.py").write_text(
        "from torch import nn\n"
        "from supernet.ops import register\n"
        "@register('test_pool')\n"
        "def pool(in_channels, out_channels, stride, *, kernel_size: int):\n"
        "    return nn.MaxPool2d(kernel_size, stride, padding=kernel_size // 2)\n"
    )
    rows = load_space("digits").to_dict()["rows"]
    pools = {"name": "pools", "op": "test_pool", "kernel_size": [3, 5], "channels": 16, "skip": True}
    space = load_space({"base": "digits", "operators": "pools_of_a_test", "rows": [rows[0], pools, *rows[1:]]})
    found = structured_paths(space)
    assert {"small", "shallow-heavy", "early-heavy", "late-heavy"} <= found.keys()
    assert all(found[name][0] < 2 for name in ("early-heavy", "late-heavy"))
