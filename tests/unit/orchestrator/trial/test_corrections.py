"""Corrections of a table: none of the networks that were over keeps the budget by it, and they survive a restart."""

import pytest

from orchestrator.data.storage import Storage
from orchestrator.plan.trials import CORRECTIONS_FILE
from orchestrator.trial.corrections import Correction, corrected, corrections_of, keep_corrections, train_key
from orchestrator.trial.records import DamagedFile
from supernet.cost import CostTable

COSTS = CostTable("board", "ms", 2.0, ((1.0, 3.0), (2.0, 10.0, 0.0)), error=0.03)


def test_a_network_that_was_over_does_not_keep_the_budget_by_the_corrected_table():
    over = Correction("a", COSTS.total((1, 1)), 15.6)
    table = corrected(COSTS, [over])
    assert table.total((1, 1)) == pytest.approx(15.6)
    assert table.total((0, 2)) == pytest.approx(3.0 * 15.6 / 15.0)
    assert (table.name, table.unit, table.error) == (COSTS.name, COSTS.unit, COSTS.error)
    assert corrected(COSTS, ()) is COSTS


def test_every_correction_lowers_the_limit():
    corrections, totals = [], []
    for measured in (15.01, 14.0, 16.0):
        corrections.append(Correction("a", 15.0, measured))
        totals.append(corrected(COSTS, corrections).total((1, 1)))
    assert totals == pytest.approx([15.0 * 1.005, 15.0 * 1.005**2, 16.0])


def test_corrections_are_kept_and_damage_is_named(tmp_path):
    store = Storage(str(tmp_path / "trial"))
    assert corrections_of(store) == ()
    found = (Correction("a", 1.0, 1.1), Correction("b", 0.9, 1.05))
    keep_corrections(store, found)
    assert corrections_of(store) == found
    store.write(CORRECTIONS_FILE, store.read(CORRECTIONS_FILE).replace(b"1.1", b"1.2"))
    with pytest.raises(DamagedFile, match=r"corrections\.json: damaged .*the networks that were over the budget"):
        corrections_of(store)


def test_another_derivation_has_its_own_checkpoints():
    known = Correction("a", 1.0, 1.1)
    assert [train_key("ort", [known] * number) for number in range(3)] == ["ort", "ort-again1", "ort-again2"]
