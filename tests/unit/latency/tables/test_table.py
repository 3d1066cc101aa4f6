"""Latency tables as costs: what skipping costs, and an expectation with the right gradient."""

import torch
from latency_cases import made_up_table

from latency.target import load_target
from supernet.presets import load_space

SPACE, TARGET = load_space("digits"), load_target("ort-cpu-1t")


def test_skipping_costs_nothing() -> None:
    costs = made_up_table().cost_table()
    for position, row in zip(SPACE.positions, costs.candidates, strict=True):
        for op, ms in zip(position.candidates, row, strict=True):
            assert (ms == 0.0) == (op.name == "zero")


def test_expectation_is_differentiable_and_its_gradient_is_the_table() -> None:
    costs = made_up_table().cost_table()
    probs = torch.zeros(6, 7, dtype=torch.float64)
    for position, row in enumerate(costs.candidates):
        probs[position, : len(row)] = 1 / len(row)
    probs.requires_grad_()
    costs.expected(probs).backward()
    assert probs.grad is not None
    for grad, row in zip(probs.grad, costs.candidates, strict=True):
        torch.testing.assert_close(grad[: len(row)], torch.tensor(row, dtype=torch.float64))
