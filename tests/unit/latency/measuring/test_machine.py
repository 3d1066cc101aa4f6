"""Two measurements on one device take turns, and the second says that it waits. What the kernel says of threads."""

import hashlib
import os
import threading
import time

import pytest

from latency.measuring.machine import allowed_cores, measuring_lock, watched_threads

SPUN = bytes(2**20)


@pytest.mark.parametrize(("first_name", "second_name"), [("a board", "a board"), ("cuda", "cuda:0")])
def test_the_second_measurement_waits_and_says_so(tmp_path, monkeypatch, first_name, second_name):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said, order, waiting = [], [], threading.Event()

    def second():
        with measuring_lock(second_name, lambda: (said.append("waits"), waiting.set())):
            order.append("second")

    with measuring_lock(first_name, lambda: said.append("never")):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        with measuring_lock("another board", lambda: said.append("never")):
            order.append("first")
    thread.join(60)
    assert (said, order) == (["waits"], ["first", "second"])


def test_the_cores_that_may_be_used_are_known_to_a_thread_that_is_pinned():
    """As a measuring process does, which undoes the pinning that it inherits; the thread's own stays."""
    before, found = os.sched_getaffinity(0), []

    def pinned():
        os.sched_setaffinity(0, {min(before)})
        found.append((allowed_cores(), os.sched_getaffinity(0)))

    thread = threading.Thread(target=pinned)
    thread.start()
    thread.join(60)
    assert found == [(allowed_cores(), {min(before)})]
    assert before <= set(allowed_cores())
    assert os.sched_getaffinity(0) == before


def test_what_threads_waited_for_a_core_is_added_up(tmp_path):
    for thread, said in (("1", "500 20 3\n"), ("22", "700 3000 4\n")):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(said)
    (tmp_path / "333").mkdir()  # it has just ended
    before = set(os.listdir("/proc/self/fd"))
    with watched_threads(str(tmp_path)) as waited:
        assert waited() == 3020
        (tmp_path / "1" / "schedstat").write_text("600 45 5\n")
        assert waited() == 3045
    assert set(os.listdir("/proc/self/fd")) == before
    with watched_threads(str(tmp_path / "none")) as waited:
        assert waited() == 0


@pytest.mark.skipif(not os.path.isfile("/proc/self/schedstat"), reason="the kernel does not tell")
def test_a_thread_that_shares_a_core_with_another_is_seen_to_wait():
    """Both want the same core all the while: the wall time of both together is what they ran and waited."""
    cores, go, done = os.sched_getaffinity(0), threading.Barrier(2), []

    def spin():
        os.sched_setaffinity(0, {min(cores)})
        go.wait(60)
        with watched_threads() as waited:
            end, before = time.thread_time() + 0.1, waited()
            while time.thread_time() < end:
                hashlib.sha256(SPUN).digest()  # without the interpreter's lock, for which nobody waits in a queue
            done.append(waited() - before)

    threads = [threading.Thread(target=spin) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(done) > 0.05e9
