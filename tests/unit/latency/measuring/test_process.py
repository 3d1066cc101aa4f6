"""The measuring process: kept over jobs, each of them in a fork of its own; what breaks a job off, and what follows."""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from latency.measuring.job import Item, Job, plan_for
from latency.measuring.machine import measuring_lock
from latency.measuring.process import MeasuringProcess
from latency.target import load_target, read_target
from supernet.errors import InputError, RunError
from supernet.presets import load_space

SPACE, TARGET = load_space("digits"), load_target("ort-cpu-1t")
SMALLEST = Item("model", choices=SPACE.kept((0, 6, 6, 0, 6, 6)), input_shape=SPACE.input_size, check=True)
JOB = Job(TARGET, (SMALLEST,), SPACE, replace(plan_for(TARGET, 0.1), phases=2))


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no measurement that runs on this machine: nothing here depends on milliseconds."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


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


def test_a_job_that_fails_dies_or_is_broken_off_ends_all_and_the_next_begins_anew() -> None:
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
        assert set(children(os.getpid())) == before
        with pytest.raises(RunError, match="ended with status -9"):
            process.run(JOB, die)
        assert set(children(os.getpid())) == before
        with pytest.raises(KeyboardInterrupt):
            process.run(JOB, stop)
        assert set(children(os.getpid())) == before
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


PROGRAM = """
import os, pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
helper = subprocess.Popen(["sleep", "600"])
(folder / "new").write_text(f"{os.getpid()} {helper.pid}")
(folder / "new").rename(folder / "pids")
if len(sys.argv) > 2:
    os.kill(int(sys.argv[2]), signal.SIGUSR1)
while not (folder / "go").exists():
    time.sleep(0.05)
helper.kill()
print(1)
"""


def job_of_a_program(folder: Path, *arguments: str, seconds: float = 600.0) -> Job:
    """Return a job whose program starts another one, and both run until there is a file `go`."""
    (folder / "program.py").write_text(PROGRAM)
    options = {"command": [sys.executable, str(folder / "program.py"), str(folder), *arguments]}
    definition = {"name": "board", "runtime": "command", "device": "board"}
    target = read_target({**definition, "options": {**options, "timeout_seconds": seconds}}, "target")
    return Job(target, (replace(SMALLEST, check=False),), SPACE, plan_for(target, 0.1))


def wait_until(holds) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def stopped_by_a_signal() -> Iterator[None]:
    """Be broken off by SIGUSR1, as by Ctrl-C, which a test run in the background does not get."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, stop)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("stopped_by_a_signal")
def test_a_program_ends_with_its_job_and_so_does_what_it_has_started(tmp_path: Path) -> None:
    late = job_of_a_program(tmp_path, seconds=5.0)
    with MeasuringProcess(late.target) as process, pytest.raises(RunError, match="took more than 5 s"):
        process.run(late)
    pids = (tmp_path / "pids").read_text().split()
    wait_until(lambda: all(gone(int(pid)) for pid in pids))

    stopped = job_of_a_program(tmp_path, str(os.getpid()))
    with MeasuringProcess(stopped.target) as process, pytest.raises(KeyboardInterrupt):
        process.run(stopped)
    assert (tmp_path / "pids").read_text().split() != pids
    wait_until(lambda: all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split()))


def test_nothing_else_is_measured_while_a_program_runs_whose_starter_was_killed(tmp_path: Path) -> None:
    job = job_of_a_program(tmp_path)

    def refuse() -> None:
        raise BlockingIOError

    starter = os.fork()
    if starter == 0:
        with contextlib.suppress(BaseException):
            MeasuringProcess(job.target).run(job)
        os._exit(1)
    wait_until((tmp_path / "pids").is_file)
    os.kill(starter, signal.SIGKILL)
    os.waitpid(starter, 0)
    with pytest.raises(BlockingIOError), measuring_lock("board", refuse):
        pass
    (tmp_path / "go").touch()
    with measuring_lock("board"):
        assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())
