"""A model file travels as bytes to where its target is, and answers there; the device is waited for elsewhere."""

import numpy as np

from latency.graphs.export import export_program
from latency.graphs.model import example_input
from latency.target import load_target
from orchestrator.cluster import models
from orchestrator.cluster.models import _ask
from orchestrator.plan.ledger import Ledger, total
from orchestrator.plan.news import News
from supernet.network import build_network
from supernet.presets import load_space


def test_a_file_answers_images_that_nobody_may_write_to() -> None:
    """As they come out of an object store."""
    space = load_space("digits")
    network = build_network(space, space.architecture((0,) * 6)).eval()
    images = example_input((3, *space.input_size))
    images.setflags(write=False)
    content = export_program(network, space.input_size)
    found = _ask("model.pt2", content, load_target("torch-cpu-1t").to_dict(), images, "trial")
    again = _ask("model.pt2", content, load_target("torch-cpu-1t").to_dict(), images, "trial")
    assert found.shape == (3, 10)
    np.testing.assert_array_equal(found, again)


def test_judging_on_a_device_that_is_there_is_no_wait(monkeypatch) -> None:
    """Booked as one before: whoever asks posts that it waits, and nothing took that back."""
    board = {"trial": News("trial", "evaluate", waits_for="the device of torch-cpu-1t")}
    ledger = Ledger(0.0)
    ledger.look(board, 0.0)
    ledger.look(board, 3.0)
    monkeypatch.setattr(models, "poster", lambda: lambda news: board.update({news.key: news}))

    def answers(file, target, images):
        ledger.look(board, 3.0)
        ledger.look(board, 10.0)
        return images

    monkeypatch.setattr(models, "answers", answers)
    _ask("model.pt2", b"", load_target("torch-cpu-1t").to_dict(), example_input((1, 1, 8, 8)), "trial")
    spent = total([ledger.run()]).by_key()["trial"]
    assert {one.phase: one.seconds for one in spent} == {"wait": 3.0, "evaluate": 7.0}
