"""The ledger of each run is kept while it runs, and added to those before it."""

from orchestrator.data.storage import Storage
from orchestrator.plan.ledgers import FOLDER, KEEP_SECONDS, KeptLedger, kept_ledger, stored_ledger
from orchestrator.plan.news import News

SEARCH = {"a": News("a", "search", 1, 10)}


def test_what_a_killed_driver_loses_is_a_minute(tmp_path):
    now, store = [0.0], Storage(str(tmp_path))
    ledger = KeptLedger(store, 1.0, {"wall": 9.0}, now=lambda: now[0])
    for now[0] in range(int(2.5 * KEEP_SECONDS)):
        ledger.look(SEARCH)
    assert stored_ledger(store).wall_seconds == 2 * KEEP_SECONDS
    assert stored_ledger(store).forecast == {"wall": 9.0}


def test_each_run_adds_its_own_and_only_the_first_asks_for_a_forecast(tmp_path):
    store, asked = Storage(str(tmp_path)), []

    def forecast():
        asked.append(1)
        return {"search": 1.0}

    for _ in range(3):
        with kept_ledger(store, 1.0, forecast) as ledger:
            ledger.look(SEARCH)
    assert stored_ledger(store).num_runs == 3
    assert len(asked) == 1


def test_a_run_without_work_is_not_kept_and_a_damaged_one_is_left_out(tmp_path):
    store = Storage(str(tmp_path))
    with kept_ledger(store, 1.0, dict):
        pass
    assert stored_ledger(store).num_runs == 0
    for _ in range(2):
        with kept_ledger(store, 1.0, dict) as ledger:
            ledger.look(SEARCH)
    first, _ = sorted((tmp_path / FOLDER).iterdir())
    first.write_bytes(first.read_bytes()[:-30])
    assert stored_ledger(store).num_runs == 1


def test_a_ledger_that_cannot_be_written_ends_no_sweep(tmp_path):
    with kept_ledger(Storage(str(tmp_path)), 1.0, dict) as ledger:
        ledger.look(SEARCH)
        (tmp_path / FOLDER).write_text("a file where the folder would be")
    assert (tmp_path / FOLDER).read_text() == "a file where the folder would be"


def test_a_run_overwrites_no_other_where_one_is_lost(tmp_path):
    store = Storage(str(tmp_path))
    for name in ("run-0002.json", "notes.json"):
        store.child(FOLDER).write(name, b"{}")
    assert KeptLedger(store, 1.0, {})._name == "run-0003.json"
