"""One budget of failures for a job, whatever was lost; what a restart cannot mend ends it at once, as its kind."""

import errno

import pytest

from latency.errors import NotRunnable
from orchestrator.data.storage import Storage
from orchestrator.trial.failures import Failure, FailurePolicy, Starts, is_final, run_to_end
from supernet.errors import InputError, RunError

LOST = Failure("a worker died")


@pytest.mark.parametrize("max_failures", [0, 1, 8])
def test_a_job_is_started_once_more_often_than_it_may_fail(max_failures):
    policy, num_starts = FailurePolicy(max_failures), 0
    while policy.again(LOST, num_starts):
        num_starts += 1
    assert num_starts == max_failures + 1
    ended = policy.end("t", LOST, num_starts)
    assert isinstance(ended, RunError)
    assert f"t: failed {num_starts} times" in str(ended)
    assert "a worker died; the same command goes on" in str(ended)


def test_processes_that_start_a_job_share_its_budget(tmp_path):
    """Each of these processes is lost after one start, as Ray Tune restarts them: nothing multiplies."""
    policy, made = FailurePolicy(3), 0
    for _ in range(20):
        starts = Starts(Storage(str(tmp_path)), "t", "driver")
        if policy.again(LOST, starts.count):
            starts.note()
            made += 1
    assert made == 4
    assert Starts(Storage(str(tmp_path)), "t", "next driver").count == 0
    assert Starts(Storage(str(tmp_path)), "other", "driver").count == 0
    Storage(str(tmp_path)).child("attempts").write("t.json", b'{"driver": ')
    assert Starts(Storage(str(tmp_path)), "t", "driver").count == 0


def test_what_no_restart_mends_ends_the_job_as_its_kind():
    policy = FailurePolicy(8)
    for error in (InputError("bad"), RunError("away"), NotRunnable("no such device")):
        failure = Failure(str(error), error)
        assert not policy.again(failure, 1)
        assert type(policy.end("t", failure, 1)) is type(error)


@pytest.mark.parametrize("max_failures", [0, 2])
def test_what_ended_by_itself_is_tried_again_with_the_whole_budget(tmp_path, max_failures):
    """Seen: a derivation that was too noisy is tried once more after the other trials, and with `max_failures: 0` that
    was refused: `failed 1 times, the last time: the process that had started it ended`."""
    policy, starts = FailurePolicy(max_failures), Starts(Storage(str(tmp_path)), "t", "driver")
    noisy = Failure("noisy", RunError("a network seems over its budget, but the machine was disturbed"))
    ends = iter([*[LOST] * max_failures, noisy, *[LOST] * max_failures, None, None])
    with pytest.raises(RunError, match="t: a network seems over its budget"):
        run_to_end("t", policy, starts, lambda: next(ends))
    run_to_end("t", policy, starts, lambda: next(ends))
    run_to_end("t", policy, starts, lambda: next(ends))  # what it came to was damaged
    assert next(ends, "none left") == "none left"
    with pytest.raises(RunError, match=rf"t: failed {max_failures + 1} times .* a worker died; the same command"):
        run_to_end("t", policy, starts, lambda: LOST)
    assert starts.count == max_failures + 1, "for whoever starts it again"


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EIO, "a disk that comes back"), False),
        (ConnectionError("a store that comes back"), False),
        (RuntimeError("a collective broke off"), False),
        (KeyError("program"), True),
    ],
)
def test_a_full_disk_is_final_and_a_store_that_went_away_is_not(error, final):
    assert is_final(error) is final


def test_what_could_not_be_written_is_final_by_its_cause():
    for number, final in ((errno.ENOSPC, True), (errno.EHOSTUNREACH, False)):
        error = RunError("state.pt: cannot be written")
        error.__cause__ = OSError(number, "why")
        assert is_final(error) is final
