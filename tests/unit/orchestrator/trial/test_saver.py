"""A job goes on from the newest checkpoint that is whole, whatever became of Ray's record and of the others."""

import contextlib
import io
import json
import random

import pytest
import ray.train
import torch
from pyarrow.fs import LocalFileSystem

from orchestrator.cluster.checkpoints import Due
from orchestrator.data.storage import Storage
from orchestrator.plan.trials import checkpoints_in
from orchestrator.trial.saver import (
    RECORD_FILE,
    STATE_FILE,
    FolderSaver,
    TrainSaver,
    drop_broken_record,
    newest_whole,
    read_state,
)
from supernet.errors import RunError
from supernet.sync import Alone


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
    store.write(".validate_storage_marker", b"")  # Ray's too
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


def test_one_rank_saves_by_itself_what_any_number_goes_on_from(store):
    saver = FolderSaver(Due(25, 3600.0, Alone()), store)
    assert saver.load()["search"]["step"] == 75
    state = {"step": 75, "weights": torch.zeros(4)}
    for step in (100, 125):
        state["step"], state["weights"] = step, state["weights"].add_(1.0)
        saver.save(lambda: {"search": dict(state)}, f"search-{step:06d}")
    state["weights"].add_(1.0)  # a later step does not change what is being written
    saver.wait()
    assert checkpoints_in(store) == ["search-000100", "search-000125"]
    assert float(FolderSaver(saver.due, store).load()["search"]["weights"][0]) == 2.0
    assert drop_broken_record(store)  # Ray's list names what is gone; with more ranks the newest is found
    assert chosen(store) == ("search-000125", 125)


def test_a_checkpoint_is_not_removed_for_later_ones_that_are_damaged(store):
    for step in (50, 75):
        store.child(f"search-{step:06d}").write(STATE_FILE, b"")
    saver = FolderSaver(Due(1, 3600.0, Alone()), store)
    assert saver.load()["search"]["step"] == 25
    for step in (26, 27):
        saver.save(lambda step=step: {"search": {"step": step}}, f"search-{step:06d}")
        saver.wait()
    assert checkpoints_in(store) == ["search-000026", "search-000027"]


def test_a_state_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    saver = FolderSaver(Due(1, 3600.0, Alone()), Storage(str(tmp_path / "run")))
    saver.save(lambda: {"search": {"step": 1}}, "search-000001")
    with pytest.raises(RunError, match=r"search-000001/state\.pt: cannot be written"):
        saver.save(lambda: {"search": {"step": 2}}, "search-000002")


@pytest.mark.parametrize("whole", [True, False])
def test_copies_for_rays_storage_wait_for_each_other_also_after_a_failure(tmp_path, whole):
    (tmp_path / "run").write_text("a file where the folder should be")
    saver = TrainSaver(Due(1, 3600.0, Alone()), Alone())
    place = tmp_path / ("whole" if whole else "run") / "search-000001"
    checkpoint = ray.train.Checkpoint(str(place), LocalFileSystem())
    saver._writing.acquire()
    assert not saver._writing.acquire(blocking=False), "a second copy would not wait"
    with contextlib.nullcontext() if whole else pytest.raises(RunError, match="cannot be written"):
        assert saver._write({"search": {"step": 1}}, checkpoint) is checkpoint
    assert saver._writing.acquire(blocking=False), "the next copy waits for ever"
    assert (place / STATE_FILE).is_file() is whole
