"""Published tables: the paper's figures, and what they lack."""

import pytest
from repository import ROOT

from latency.errors import MissingLatency
from latency.tables.describe import expected_costs
from latency.tables.estimate import cost_table, latency_table, predict
from latency.tables.published import published_entries
from latency.target import load_target
from supernet.presets import load_network, load_space, read_preset
from supernet.space import read_space

PAPER, PIXEL1 = load_space("proxyless-imagenet"), load_target("pixel1-published")


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


def test_how_a_space_writes_its_operators_does_not_matter() -> None:
    """The order of arguments, and defaults that are written out; an argument that changes the operator does."""
    plain = PAPER.to_dict()
    for row in plain["rows"]:
        for number, candidate in enumerate(row["candidates"]):
            name, arguments = candidate.pop("op"), dict(reversed(candidate.items()))
            style = {} if name == "classifier" else {"bn_eps": 1e-3, "activation": "relu6"}
            row["candidates"][number] = {"op": name, **style, **arguments}
    assert cost_table(read_space(plain, "other"), PIXEL1, "") == cost_table(PAPER, PIXEL1, "")
    plain["rows"][1]["candidates"][0]["activation"] = "relu"
    with pytest.raises(MissingLatency):
        cost_table(read_space(plain, "other"), PIXEL1, "")
