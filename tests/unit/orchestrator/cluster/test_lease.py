"""One driver per sweep: a second one is told who holds it, and takes over only from the dead."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from repository import ROOT

from orchestrator.cluster import lease
from orchestrator.cluster.lease import LEASE_FILE, Lease, held
from orchestrator.data.storage import Storage
from supernet.errors import RunError
from supernet.plain import read_json, to_json

BEAT = 0.1

HOLDER = """
import sys, time
from orchestrator.cluster.lease import held
from orchestrator.data.storage import Storage
with held(Storage(sys.argv[1]), "night", beat_seconds=0.1):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path):
    return Storage(str(tmp_path))


@contextlib.contextmanager
def holder(store):
    """Another process that holds the sweep."""
    command = [sys.executable, "-c", HOLDER, store.uri]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def stored(store) -> Lease:
    return read_json(Lease, store.read(LEASE_FILE), "")


def test_a_second_driver_is_told_who_holds_the_sweep_and_since_when(store):
    with holder(store) as first:
        since = stored(store).since
        with pytest.raises(RunError) as told, held(store, "night", beat_seconds=BEAT):
            pass
        assert f"sweep 'night' is being run by process {first.pid}" in str(told.value)
        assert since in str(told.value)
        assert f"`kill {first.pid}`" in str(told.value)
        assert stored(store).pid == first.pid
        assert first.poll() is None


def test_a_killed_driver_is_followed_at_once(store):
    with holder(store) as first:
        first.kill()
        first.wait()
        begin = time.monotonic()
        with held(store, "night"):  # whose beat is ten seconds: it is not waited for
            assert stored(store).pid == os.getpid()
        assert time.monotonic() - begin < 8
    assert stored(store).ended


def test_an_ended_driver_is_followed_at_once(store):
    for _ in range(2):
        with held(store, "night"):
            assert not stored(store).ended
    assert stored(store).ended


def test_a_driver_elsewhere_is_dead_when_it_is_silent(store):
    with held(store, "night", beat_seconds=BEAT):
        elsewhere = replace(stored(store), owner="x", machine="another", host="far", pid=1)
    store.write(LEASE_FILE, to_json(elsewhere).encode())
    said = []
    begin = time.monotonic()
    with held(store, "night", said.append, beat_seconds=BEAT):
        assert stored(store).pid == os.getpid()
    assert time.monotonic() - begin >= lease.DEAD_AFTER_BEATS * BEAT
    assert "process 1 on far runs this sweep" in said[0]


def test_a_driver_that_was_suspended_ends_when_it_finds_another_one(store):
    """Its heart interrupts the work, which ends with who has the sweep now."""

    def work() -> None:
        with held(store, "night", beat_seconds=BEAT):
            other = replace(stored(store), owner="x", host="far", pid=1)
            store.write(LEASE_FILE, to_json(other).encode())
            time.sleep(30)

    with pytest.raises(RunError, match="process 1 on far"):
        work()
    assert stored(store).owner == "x", "what is not ours any more is not freed"


def test_ctrl_c_stays_ctrl_c_and_frees_the_sweep(store):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us with `&`
    try:
        with pytest.raises(KeyboardInterrupt), held(store, "night", beat_seconds=BEAT):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stored(store).ended


def test_a_damaged_lease_holds_nobody_up(store):
    store.write(LEASE_FILE, b'{"owner": ')
    with held(store, "night", beat_seconds=BEAT):
        assert stored(store).pid == os.getpid()


def test_a_job_is_named_by_what_stops_it(store, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"metadata": {"job_submission_id": "raysubmit_1"}}')
    with held(store, "night", beat_seconds=BEAT):
        assert "`ray job stop raysubmit_1`" in str(stored(store).held("night"))
