"""Two measurements on one device take turns, and the second says that it waits."""

import threading

import pytest

from latency.measuring.machine import measuring_lock


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
