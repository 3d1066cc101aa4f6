"""Predictions of whole networks, and costs of targets of every kind."""

from dataclasses import replace
from pathlib import Path

import pytest
from latency_cases import made_up_table, true_costs

from latency.errors import MissingLatency
from latency.tables.estimate import cost_table, predict
from latency.target import load_target
from supernet.cost import params_table
from supernet.errors import InputError
from supernet.presets import load_space
from supernet.space import Architecture

SPACE, TARGET = load_space("digits"), load_target("ort-cpu-1t")


def test_costs_fold_the_calibration_in() -> None:
    table, costs = made_up_table(), made_up_table().cost_table()
    truth = true_costs(SPACE)
    path = (0, 6, 3, 5, 6, 2)
    chosen = iter(path)
    raw = sum(truth[i, next(chosen) if layer.searched else 0] for i, layer in enumerate(SPACE.layers))
    wanted = 1.1 * raw + 0.2 + 0.05 * params_table(SPACE).total(path) / 1e6
    assert costs.total(path) == pytest.approx(wanted)
    assert predict(table, SPACE.architecture(path)) == (pytest.approx(wanted), pytest.approx(0.02 * wanted))
    assert costs.unit == "ms"


def test_no_table_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no latency table of digits on ort-cpu-1t yet; onepath latency build"):
        cost_table(SPACE, TARGET, tmp_path)


def test_a_missing_entry_is_an_error_and_only_where_it_is_needed() -> None:
    table = made_up_table()
    table = replace(table, rows=tuple(row for row in table.rows if (row.layer, row.op) != ("stage1.1", "k5e6")))
    with pytest.raises(MissingLatency, match=r"no entry for k5e6 at stage1\.1; onepath latency build"):
        table.cost_table()
    needs, needs_not = "digits:k3e3~k5e6~z-k3e3~z~z", "digits:k3e3~k5e3~z-k3e3~z~z"
    with pytest.raises(MissingLatency):
        predict(table, Architecture.parse(needs))
    assert predict(table, Architecture.parse(needs_not))[0] > 0
