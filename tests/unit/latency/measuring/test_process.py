"""The measuring process: kept over jobs, each of them in a fork of its own; what breaks a job off, and what follows."""

import os
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from latency.measuring.job import Item, Job, plan_for
from latency.measuring.process import MeasuringProcess
from latency.target import load_target
from supernet.errors import InputError, RunError
from supernet.presets import load_space

SPACE, TARGET = load_space("digits"), load_target("ort-cpu-1t")
SMALLEST = Item("model", choices=SPACE.kept((0, 6, 6, 0, 6, 6)), input_shape=SPACE.input_size, check=True)
JOB = Job(TARGET, (SMALLEST,), SPACE, replace(plan_for(TARGET, 0.1), phases=2))


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no measurement that runs on this machine: nothing here depends on milliseconds."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def only_child(but: set[int]) -> int:
    (pid,) = set(children(os.getpid())) - but
    return pid


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_jobs_share_a_process_and_leave_nothing_in_it() -> None:
    before = set(children(os.getpid()))
    with MeasuringProcess(TARGET) as process:
        first = process.run(JOB)
        pid = only_child(before)
        assert children(pid) == []
        assert process.run(JOB).parity["model"] == first.parity["model"] < 1e-4
        assert only_child(before) == pid
    assert gone(pid)


def test_a_job_that_fails_or_dies_ends_alone_and_one_that_is_broken_off_ends_all() -> None:
    before = set(children(os.getpid()))

    def die(text: str, share: float) -> None:
        os.kill(children(only_child(before))[0], signal.SIGKILL)

    def stop(text: str, share: float) -> None:
        raise KeyboardInterrupt

    def end(text: str, share: float) -> None:
        os.kill(only_child(before), signal.SIGKILL)

    with MeasuringProcess(TARGET) as process:
        with pytest.raises(InputError, match="/missing: no such file"):
            process.run(replace(JOB, items=(Item("model", file="/missing"),)))
        pid = only_child(before)
        with pytest.raises(RunError, match="ended with status -9"):
            process.run(JOB, die)
        assert only_child(before) == pid
        with pytest.raises(KeyboardInterrupt):
            process.run(JOB, stop)
        assert gone(pid)
        with pytest.raises(RunError, match="ended with status"):
            process.run(JOB, end)
        assert process.run(JOB).stats["model"].num_samples > 0


def test_it_ends_with_whoever_started_it() -> None:
    reading, writing = os.pipe()
    starter = os.fork()
    if starter == 0:
        process = MeasuringProcess(TARGET)
        process.run(JOB)
        os.write(writing, str(children(os.getpid())[0]).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    pid = int(os.read(reading, 20))
    os.waitpid(starter, 0)
    end = time.monotonic() + 20
    while not gone(pid):
        assert time.monotonic() < end, "it outlived its parent"
        time.sleep(0.05)
