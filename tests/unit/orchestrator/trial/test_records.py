"""Files between the steps of a trial: back into their types, and damage is said, with its file and what is lost."""

import contextlib
import errno
import json

import pytest

from orchestrator.data.storage import Storage
from orchestrator.plan.trials import FINDINGS_FILE, MEASURED_FILE, OUTCOME_FILE, STARTS_FOLDER, WARMUP_FILE
from orchestrator.trial.failures import is_final
from orchestrator.trial.records import (
    DamagedFile,
    Findings,
    Outcome,
    Start,
    damaged,
    is_intact,
    note_start,
    read_beside,
    read_checked,
    read_record,
    starts_of,
    write_beside,
    write_record,
)
from supernet.errors import RunError
from supernet.pool import Judged

OUTCOME = Outcome("digits:k3e3-k5e6", 0.975, 180, 160, "ab" * 32, 1)


@pytest.fixture
def store(tmp_path):
    return Storage(str(tmp_path / "trial"))


def flip(store, name, position):
    content = bytearray(store.read(name))
    content[position] ^= 1
    store.write(name, bytes(content))


def test_records_come_back_as_their_types(store):
    write_record(store, OUTCOME_FILE, OUTCOME)
    assert read_record(store, OUTCOME_FILE, Outcome) == OUTCOME
    write_record(store, MEASURED_FILE, {"digits:k3e3": 1.5})
    assert read_record(store, MEASURED_FILE, dict[str, float]) == {"digits:k3e3": 1.5}


def test_no_flipped_bit_is_another_outcome(store):
    write_record(store, OUTCOME_FILE, OUTCOME)
    whole = store.read(OUTCOME_FILE)
    for position in range(len(whole)):
        flip(store, OUTCOME_FILE, position)
        with contextlib.suppress(DamagedFile):
            assert read_record(store, OUTCOME_FILE, Outcome) == OUTCOME  # where only white space changed
        store.write(OUTCOME_FILE, whole)
    flip(store, OUTCOME_FILE, whole.index(b"0.975") + 3)
    with pytest.raises(DamagedFile, match=r"trial/outcome\.json: damaged \(outcome\.json: its checksum does not fit\)"):
        read_record(store, OUTCOME_FILE, Outcome)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"top1": 0.9}', b"\xff\xfe{}", b"[" * 100_000])
def test_a_file_that_holds_something_else_is_damaged(store, content):
    store.write(OUTCOME_FILE, content)
    with pytest.raises(DamagedFile, match=r"outcome\.json: damaged .*; remove it and run the command again"):
        read_record(store, OUTCOME_FILE, Outcome)


def test_a_value_of_another_kind_is_damaged(store):
    write_record(store, OUTCOME_FILE, {**OUTCOME.__dict__, "top1": "high"})
    with pytest.raises(DamagedFile, match=r"outcome\.json\.top1: 'high'"):
        read_record(store, OUTCOME_FILE, Outcome)


def test_storage_that_is_away_damages_nothing(tmp_path):
    """Said before: damaged, remove it; and a trained network was removed and trained again."""

    class Away(Storage):
        def read(self, name):
            raise OSError(errno.ESTALE, "Stale file handle")

    with pytest.raises(
        RunError, match=r"outcome\.json: cannot be read now \(Stale .*same command tries again"
    ) as caught:
        read_record(Away(str(tmp_path)), OUTCOME_FILE, Outcome)
    assert not isinstance(caught.value, DamagedFile)
    assert not is_final(caught.value), "another start may find it back"
    with pytest.raises(DamagedFile):
        read_record(Storage(str(tmp_path)), OUTCOME_FILE, Outcome)  # it is missing


def test_files_with_a_checksum_beside_them(store):
    write_beside(store, WARMUP_FILE, bytes(range(200)))
    assert read_beside(store, WARMUP_FILE) == bytes(range(200))
    assert is_intact(store, WARMUP_FILE)
    flip(store, WARMUP_FILE, 100)
    assert not is_intact(store, WARMUP_FILE)
    with pytest.raises(DamagedFile, match=r"warmup\.pt: damaged \(its checksum does not fit\).*lost with it: nothing"):
        read_beside(store, WARMUP_FILE)
    write_beside(store, WARMUP_FILE, b"whole")
    store.write(f"{WARMUP_FILE}.sha256", b"\xff")
    assert not is_intact(store, WARMUP_FILE)


def test_a_missing_file_is_named(store):
    assert not is_intact(store, WARMUP_FILE)
    with pytest.raises(DamagedFile, match=r"weights\.safetensors: damaged \(it is missing\)"):
        read_checked(store, "weights.safetensors", "")


@pytest.mark.parametrize("name", ["trial", "which?"])
def test_a_damaged_list_of_starts_is_begun_anew_and_never_in_the_way(tmp_path, name):
    store = Storage(str(tmp_path / name))
    for step in (0, 8):
        note_start(store, "a", Start("search", step, 2))
    assert starts_of(store, "a") == (Start("search", 0, 2), Start("search", 8, 2))
    store.child(STARTS_FOLDER).write("a.json", b'{"starts": [')
    with pytest.raises(DamagedFile, match=r"starts/a\.json: damaged .*only the list of where the job was started"):
        starts_of(store, "a")
    note_start(store, "a", Start("train", 4, 1))
    assert starts_of(store, "a") == (Start("train", 4, 1),)


def test_a_damaged_file_survives_the_way_between_processes(store):
    error = damaged(store, OUTCOME_FILE, "cut short")
    assert isinstance(error, RunError)
    assert json.loads(json.dumps(str(error))) == str(error)


def test_findings_tell_whether_a_search_learnt_anything(store):
    judged = (Judged((0, 1), 0.10, 2.3), Judged((1, 1), 0.11, 2.3))
    findings = Findings(1.79, 1.79, 7.0, judged, judged[0], judged[1:], num_images=180, num_classes=10)
    write_record(store, FINDINGS_FILE, findings)
    found = read_record(store, FINDINGS_FILE, Findings)
    assert found == findings
    assert len(found.doubts(budget=5.0)) == 3
    assert len(found.doubts(budget=None)) == 2
