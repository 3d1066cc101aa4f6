"""A model file travels as bytes to where its target is, and answers there; the device is waited for elsewhere."""

import numpy as np

from latency.graphs.export import export_program
from latency.graphs.model import example_input
from latency.target import load_target
from orchestrator.cluster.models import _ask
from supernet.network import build_network
from supernet.presets import load_space


def test_a_file_answers_images_that_nobody_may_write_to() -> None:
    """As they come out of an object store."""
    space = load_space("digits")
    network = build_network(space, space.architecture((0,) * 6)).eval()
    images = example_input((3, *space.input_size))
    images.setflags(write=False)
    content = export_program(network, space.input_size)
    found = _ask("model.pt2", content, load_target("torch-cpu-1t").to_dict(), images)
    again = _ask("model.pt2", content, load_target("torch-cpu-1t").to_dict(), images)
    assert found.shape == (3, 10)
    np.testing.assert_array_equal(found, again)
