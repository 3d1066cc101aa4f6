"""Corrections of a table: none of the networks that were over keeps the budget by it, and they survive a restart."""

import pytest

from orchestrator.data.storage import Storage
from orchestrator.plan.trials import CORRECTIONS_FILE
from orchestrator.trial.corrections import Correction, corrected, corrections_of, keep_corrections, raised, train_key
from orchestrator.trial.records import DamagedFile
from supernet.cost import CostTable, params_table
from supernet.presets import load_space

COSTS = CostTable("board", "ms", 2.0, ((1.0, 3.0), (2.0, 10.0, 0.0)), error=0.03)


def test_a_network_that_was_over_does_not_keep_the_budget_by_the_corrected_table():
    table = raised(COSTS, [15.6 / COSTS.total((1, 1))])
    assert table.total((1, 1)) == pytest.approx(15.6)
    assert table.total((0, 2)) == pytest.approx(3.0 * 15.6 / 15.0)
    assert (table.name, table.unit, table.error) == (COSTS.name, COSTS.unit, COSTS.error)
    assert raised(COSTS, ()) is COSTS


def test_every_correction_lowers_the_limit():
    excesses, totals = [], []
    for measured in (15.01, 14.0, 16.0):
        excesses.append(measured / 15.0)
        totals.append(raised(COSTS, excesses).total((1, 1)))
    assert totals == pytest.approx([15.0 * 1.005, 15.0 * 1.005**2, 16.0])


def test_corrections_are_kept_and_damage_is_named(tmp_path):
    store = Storage(str(tmp_path / "trial"))
    assert corrections_of(store) == ()
    found = (Correction("a", 1.1), Correction("b", 1.05))
    keep_corrections(store, found)
    assert corrections_of(store) == found
    store.write(CORRECTIONS_FILE, store.read(CORRECTIONS_FILE).replace(b"1.1", b"1.2"))
    with pytest.raises(DamagedFile, match=r"corrections\.json: damaged .*the networks that were over the budget"):
        corrections_of(store)


def test_a_table_that_is_measured_anew_is_corrected_by_what_it_says_itself():
    """Corrected by as much as the table before it: one that knew better was 30 % off the other way."""
    space = load_space("scattered-digits")
    path = (0,) * len(space.positions)
    before = params_table(space)
    over = [Correction(space.architecture(path).id, 1.3 * before.total(path))]
    assert corrected(before, space, over).total(path) == pytest.approx(1.3 * before.total(path))
    anew = before.scaled(1.25)
    assert corrected(anew, space, over).total(path) == pytest.approx(1.3 * before.total(path))


def test_another_derivation_has_its_own_checkpoints():
    known = Correction("a", 1.1)
    assert [train_key("ort", [known] * number) for number in range(3)] == ["ort", "ort-again1", "ort-again2"]
