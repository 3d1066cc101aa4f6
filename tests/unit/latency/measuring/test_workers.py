"""Forked workers: they time, they fail with a reason, they end with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT

from latency.measuring.machine import QuietCores, measuring_lock, not_installed
from latency.measuring.process import child_environment
from latency.measuring.timing import HostClock
from latency.measuring.workers import fork_worker
from latency.runtimes.base import Host, Program, host_program
from latency.target import load_target
from supernet.errors import InputError, RunError


def counting() -> tuple[Program, dict]:
    def run() -> None:
        sum(range(1000))

    return host_program(run, lambda images: np.zeros(1, np.float32), Host(HostClock())), {"pid": os.getpid()}


def test_a_worker_times_in_a_process_of_its_own() -> None:
    first = fork_worker("first", counting, [])
    second = fork_worker("second", counting, [first])
    assert len({first.ready()["pid"], second.ready()["pid"], os.getpid()}) == 3
    for worker in (first, second, first):
        calls = worker.time(20)
        assert len(calls) == 20
        assert all(call.ms > 0 for call in calls)
    assert first.cpu_seconds > 0
    for worker in (first, second):
        worker.close()
        with pytest.raises(ChildProcessError):
            os.waitpid(worker.pid, 0)


def test_a_worker_stays_on_the_cores_it_is_told() -> None:
    core = max(os.sched_getaffinity(0))
    seen: list[set[int]] = []

    def prepare() -> tuple[Program, dict]:
        def time_calls(num_calls: int) -> list:
            seen.append(os.sched_getaffinity(0))
            return host_program(lambda: os.sched_getaffinity(0), lambda images: images, Host(HostClock())).time(
                num_calls
            )

        return Program(time_calls, None), {}

    worker = fork_worker("pinned", prepare, [])
    worker.ready()
    worker.time(1, [core])
    status = Path(f"/proc/{worker.pid}/status").read_text()
    worker.close()
    assert f"Cpus_allowed_list:\t{core}\n" in status


def test_errors_of_the_user_and_of_the_world_come_back_as_such() -> None:
    def wrong() -> tuple[Program, dict]:
        raise InputError("target x: wrong in this way")

    def broken() -> tuple[Program, dict]:
        raise ZeroDivisionError("by nothing")

    def dead() -> tuple[Program, dict]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    for prepare, error, text in (
        (wrong, InputError, "target x: wrong in this way"),
        (broken, RunError, "ZeroDivisionError: by nothing"),
        (dead, RunError, "died"),
    ):
        worker = fork_worker("worker", prepare, [])
        with pytest.raises(error, match=text):
            worker.ready()
        worker.close()


def test_workers_end_when_their_parent_is_killed() -> None:
    code = (
        "import sys, time\n"
        "sys.path[:0] = ['tests', 'tests/unit/latency/measuring']\n"
        "from test_workers import counting\n"
        "from latency.measuring.workers import fork_worker\n"
        "workers = []\n"
        "for name in 'abc':\n"
        "    workers.append(fork_worker(name, counting, workers))\n"
        "print(*[worker.ready()['pid'] for worker in workers], flush=True)\n"
        "time.sleep(60)\n"
    )
    root = ROOT
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    pids = list(map(int, parent.stdout.readline().split()))
    assert len(pids) == 3
    parent.kill()
    parent.wait()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/cmdline").exists() and _running(pid) for pid in pids):
        assert time.monotonic() < end, "a worker outlived its parent"
        time.sleep(0.05)


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_the_measuring_process_overrides_what_it_inherits() -> None:
    inherited = {"OMP_NUM_THREADS": "7", "KMP_AFFINITY": "compact", "MALLOC_ARENA_MAX": "1", "HOME": "/h"}
    eager = child_environment(load_target("torch-cpu-2t"), inherited)
    assert eager["OMP_NUM_THREADS"] == eager["MKL_NUM_THREADS"] == "2"
    assert eager["HOME"] == "/h"
    assert "KMP_AFFINITY" not in eager
    assert "MALLOC_ARENA_MAX" not in eager
    for name in ("torch-cpu-1t", "ort-cpu-int8-1t", "openvino-cpu-1t"):
        assert child_environment(load_target(name), inherited)["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"


def test_the_quietest_core_is_chosen_and_own_work_does_not_count_as_noise() -> None:
    busy = {0: 0.0, 1: 0.0, 2: 0.0}
    cores = QuietCores([0, 1, 2], 1, lambda: dict(busy))
    busy.update({0: 0.9, 1: 0.2, 2: 0.5})
    cores.move(0.0)
    assert cores.own == {1}
    busy.update({0: 0.95, 1: 1.2, 2: 0.55})  # a second of work on core 1, all of it our own
    cores.move(1.0)
    assert cores.own == {1}
    busy.update({0: 0.97, 1: 2.2, 2: 1.2})  # somebody else came to core 1
    cores.move(1.3)
    assert cores.own == {0}


def test_cores_are_left_to_the_system_if_there_are_none_to_choose_from() -> None:
    cores = QuietCores([], 1)
    cores.move(0.0)
    assert cores.own == frozenset()


def test_one_measurement_at_a_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import sys, time\n"
        "from latency.measuring.machine import measuring_lock\n"
        "with measuring_lock('test-device'):\n"
        "    open(sys.argv[1], 'a').write('in '); time.sleep(0.3); open(sys.argv[1], 'a').write('out ')\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(log)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert log.read_text() == "in out " * 3
    with measuring_lock("test-device"):
        pass


def test_what_is_not_installed() -> None:
    assert not_installed(("torch", "onepath-no-such-distribution")) == ["onepath-no-such-distribution"]
