"""Ranges of spaces and costs of architectures on targets of every kind."""

from pathlib import Path

import pytest
from latency_cases import made_up_table

from latency.tables.describe import expected_costs, list_targets
from latency.tables.file import write_table
from latency.target import load_target
from supernet.cost import count_cost
from supernet.errors import InputError
from supernet.presets import load_network, load_space

PAPER, DIGITS = load_space("proxyless-imagenet"), load_space("digits")


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
    assert own["architecture_bar_ms"] == pytest.approx(0.02 * own["architecture_ms"])
    with pytest.raises(InputError, match="belongs to the space 'proxyless-mobile'"):
        expected_costs(DIGITS, target, tmp_path, load_network("proxyless-mobile"))


def test_all_targets_are_listed_with_a_reason_if_they_cannot_run() -> None:
    found = {target["name"]: target for target in list_targets()}
    assert found["ort-cpu-1t"]["runs_here"]
    assert found["pixel1-published"]["runs_here"]
    assert all(target["runs_here"] != bool(target["reason"]) for target in found.values())
