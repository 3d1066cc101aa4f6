"""Eager PyTorch: its option."""

import numpy as np
import torch

from latency.graphs.model import module_forms
from latency.measuring.timing import HostClock
from latency.runtimes.base import Host, load_runtime
from latency.target import read_target
from supernet.network import build_network
from supernet.presets import load_space


def test_channels_last_is_an_option_of_eager() -> None:
    target = read_target({"name": "c", "runtime": "torch", "options": {"channels_last": True}}, "target")
    space = load_space("digits")
    network = build_network(space, space.architecture((0,) * 6))
    forms = module_forms(network, (1, *space.input_size))
    with torch.inference_mode():
        wanted = network(torch.from_numpy(forms.example)).numpy()
    program = load_runtime("torch").prepare(forms, target, Host(HostClock()))
    assert network[0].op.conv.weight.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(program.output(forms.example), wanted, atol=1e-5)
