"""Averages of weights: against the sum written out, and nothing where none is asked for."""

import torch
from torch import nn

from supernet.averaging import make_average
from supernet.rng import generator


def test_the_average_is_that_of_all_steps_and_replaces_the_weights():
    weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    average, mean = make_average({"weight": weight}, 0.9), weight.detach().clone()
    for step in range(100):
        with torch.no_grad():
            weight += torch.randn(3, generator=generator("step", step), dtype=torch.float64)
        decay = min(0.9, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * weight.detach()
        average.update(step)
    assert not torch.allclose(weight.detach(), mean)
    average.write_back()
    torch.testing.assert_close(weight.detach(), mean, rtol=0, atol=1e-12)


def test_without_a_decay_weights_stay_as_they_are():
    weight = nn.Parameter(torch.ones(3))
    average = make_average({"weight": weight}, 0.0)
    average.update(0)
    average.write_back()
    average.drop(["weight"])
    assert average.state_dict() == {}
    assert weight.tolist() == [1.0, 1.0, 1.0]
