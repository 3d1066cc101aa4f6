"""A job goes on from the newest checkpoint that is whole, whatever became of Ray's record and of the others."""

import io
import json
import random

import pytest
import torch

from orchestrator.data.storage import Storage
from orchestrator.plan.trials import RECORD_FILE
from orchestrator.trial.saver import STATE_FILE, drop_broken_record, newest_whole, read_state


def content_of(step):
    buffer = io.BytesIO()
    torch.save({"search": {"step": step, "weights": torch.full((64, 64), float(step))}}, buffer)
    return buffer.getvalue()


@pytest.fixture
def store(tmp_path):
    """A run with three checkpoints, the last two registered."""
    store = Storage(str(tmp_path))
    for step in (25, 50, 75):
        store.child(f"search-{step:06d}").write(STATE_FILE, content_of(step))
    results = [{"checkpoint_dir_name": f"search-{step:06d}", "metrics": {}} for step in (50, 75)]
    store.write_json(RECORD_FILE, {"checkpoint_results": results})
    return store


def chosen(store, registered=""):
    found = newest_whole(store.filesystem, store.root, registered)
    return found and (found[0], found[1]["search"]["step"])


def test_the_registered_one_is_taken_and_without_a_record_the_newest(store):
    assert chosen(store, "search-000050") == ("search-000050", 50)
    assert chosen(store) == ("search-000075", 75)
    store.child("train-000000").write(STATE_FILE, content_of(0))
    assert chosen(store) == ("train-000000", 0)  # phases are in order of their names


def test_damaged_ones_are_passed_over(store):
    store.child("search-000075").write(STATE_FILE, b"")
    assert chosen(store, "search-000075") == ("search-000050", 50)
    store.child("search-000050").write(STATE_FILE, content_of(50)[:-200])
    assert chosen(store, "search-000075") == ("search-000025", 25)
    store.filesystem.delete_file(f"{store.root}/search-000025/{STATE_FILE}")
    assert chosen(store, "search-000075") is None


def test_flipped_bits_are_never_taken_for_a_state():
    whole, rng = content_of(7), random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        try:
            found = read_state(bytes(damaged))["search"]
        except ValueError:
            continue
        assert found["step"] == 7  # padding between the parts of the file
        assert torch.equal(found["weights"], torch.full((64, 64), 7.0))


@pytest.mark.parametrize(
    ("record", "sound"),
    [
        (b"", False),
        (b'{"checkpoint_results": [{"check', False),
        (b"[]", False),
        (json.dumps({"checkpoint_results": [{"checkpoint_dir_name": "search-000099"}]}).encode(), False),
        (json.dumps({"checkpoint_results": [{"checkpoint_dir_name": "search-000075"}]}).encode(), True),
    ],
    ids=["empty", "cut", "other", "names what is gone", "sound"],
)
def test_a_record_that_ray_could_not_read_is_removed(store, record, sound):
    store.write(RECORD_FILE, record)
    assert drop_broken_record(store) is not sound
    assert store.exists(RECORD_FILE) is sound
    assert chosen(store) == ("search-000075", 75)


def test_a_run_without_a_record_is_left_alone(tmp_path):
    assert not drop_broken_record(Storage(str(tmp_path / "new")))
