"""A rank dies at the worst moment, or fails alone: the job goes on bit for bit, or ends at once with the reason."""

import pytest
from ray_play import play

from orchestrator.trial import search_job
from supernet.errors import InputError, RunError


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """How the scene ended: jobs `struck`, `quiet`, `alone` and `slow`."""
    return play("resume", tmp_path_factory.mktemp("resume"))


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_rank_killed_on_an_unregistered_checkpoint_changes_nothing(found):
    quiet, struck = found["quiet"], found["struck"]
    assert quiet["starts"] == [0]
    assert struck["ranks"] == 2
    assert not struck["registered"], "the scene was too slow to meet the trap"
    assert len(struck["starts"]) == 2
    assert 0 <= struck["starts"][1] <= 100
    assert struck["weights"] == quiet["weights"]


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_rank_killed_while_its_work_is_handed_to_it_changes_nothing(found):
    assert found["launched"]["launched"]
    assert found["launched"]["weights"] == found["quiet"]["weights"]


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_an_error_on_one_rank_ends_all_of_them(found):
    assert "no node of the cluster measured target 'ort-cpu-1t'" in found["alone"]["error"]
    assert found["alone"]["seconds"] < 400, "the other rank was waited for"


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_device_that_slowed_down_since_its_table_was_measured_is_caught(found):
    assert found["slow"]["status"] == "rejected", found["slow"]
    assert "10% allowed, gate.prediction_error" in found["slow"]["reason"]
    assert found["slow"]["over"] > 1.4


@pytest.mark.ray
def test_what_killed_drivers_left_is_freed_by_the_next_one(tmp_path):
    found = play("leftovers", tmp_path)
    assert found["freed"] == [0, 2]  # in another session of the cluster the same numbers are other jobs
    assert found["groups"] == {"sweep": "REMOVED", "other": "CREATED"}
    assert found["guards"] == {"sweep": "DEAD", "other": "ALIVE"}


@pytest.mark.ray
def test_a_head_without_a_dashboard_cannot_list_guards_and_frees_the_groups(tmp_path):
    found = play("leftovers_unlisted", tmp_path)
    assert found["freed"] == [0, 1]
    assert found["groups"] == {"sweep": "REMOVED", "other": "CREATED"}
    assert found["guards"] == {"sweep": "ALIVE", "other": "ALIVE"}


@pytest.mark.parametrize(
    ("raised", "final"),
    [(InputError("no such class"), True), (RunError("full"), True), (OSError("storage is away"), False), (None, None)],
    ids=str,
)
def test_the_one_rank_in_the_trials_process_fails_as_any_other(raised, final, monkeypatch):
    def stages(spec):
        if raised:
            raise raised

    monkeypatch.setattr(search_job, "_run_stages", stages)
    failure = search_job._start_here({})
    if raised is None:
        assert failure is None
        return
    assert str(raised) in failure.reason
    assert (str(failure.error) if failure.error else None) == (str(raised) if final else None)
