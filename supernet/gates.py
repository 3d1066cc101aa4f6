"""Architecture parameters, path sampling, and the gate that carries the loss gradient back to them.

Why here: the method's core formula lives in one autograd function. It must not know losses, costs or data.

With binary gates, m(x) = sum_j g_j o_j(x) and exactly one g_j is 1. The paper substitutes dL/dg_j for
dL/dp_j; `GateGradient` returns d_j = dL/dg_j = <dL/dm, o_j(x)> as the gradient of p_j, so that autograd's
own softmax backward gives dL/dalpha_i = p_i (d_i - sum_j p_j d_j), eq. 4.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from supernet.network import MixedLayer
from supernet.space import Path, Space


class ArchitectureParameters:
    """The logits `alpha` over the candidates of every position, and which candidates are still alive.

    Kept on the CPU in float64: they are few, and sampling reads them on the host.

    Attributes:
        logits: Shape (num_positions, max_candidates), float64, requires grad.
        alive: Shape (num_positions, max_candidates), bool; False past the last candidate or when pruned.
    """

    def __init__(self, space: Space, generator: torch.Generator, std: float = 1e-3) -> None:
        counts = [len(position.candidates) for position in space.positions]
        width = max(counts, default=1)
        self.alive = torch.tensor([[j < n for j in range(width)] for n in counts], dtype=torch.bool).view(-1, width)
        start = torch.randn(self.alive.shape, generator=generator, dtype=torch.float64) * std
        self.logits = torch.where(self.alive, start, 0.0).requires_grad_()

    def probs(self) -> Tensor:
        """Return the softmax over living candidates, shape (num_positions, max_candidates)."""
        return torch.softmax(self.logits.masked_fill(~self.alive, -torch.inf), dim=1)

    def state_dict(self) -> dict[str, Tensor]:
        """Return logits and living candidates."""
        return {"logits": self.logits.detach().clone(), "alive": self.alive.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore in place what `state_dict` returned."""
        with torch.no_grad():
            self.logits.copy_(state["logits"])
        self.alive.copy_(state["alive"])


def sample_candidates(probs: Tensor, generator: torch.Generator, count: int = 1) -> list[tuple[int, ...]]:
    """Draw `count` distinct candidates per position, without replacement, with probabilities `probs`.

    Where fewer candidates are alive, all of them are returned, most probable draw first (Gumbel top-k).
    """
    with torch.no_grad():
        uniform = torch.rand(probs.shape, generator=generator, dtype=torch.float64)
        keys = probs.log() - (-uniform.clamp_min(1e-300).log()).log()
        best = keys.topk(min(count, probs.shape[1]), dim=1)
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [tuple(j for j, key in zip(*row, strict=True) if key > -float("inf")) for row in rows]


def sample_path(probs: Tensor, generator: torch.Generator) -> Path:
    """Draw one path with probabilities `probs`, shape (num_positions, max_candidates)."""
    return tuple(choice[0] for choice in sample_candidates(probs, generator))


class GateGradient(torch.autograd.Function):
    """Identity on a candidate's output; its backward recomputes the other candidates without a graph."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, x: Tensor, probs: Tensor, layer: MixedLayer, index: int, compared: Sequence[int]
    ) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.layer, ctx.index, ctx.compared, ctx.like = layer, index, compared, probs
        device = x.device.type
        ctx.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        x, y = ctx.saved_tensors
        device, dtype, enabled = ctx.autocast
        d = torch.zeros_like(ctx.like)
        with torch.no_grad(), torch.autocast(device, dtype=dtype, enabled=enabled):
            for j in ctx.compared:
                if ctx.layer.zero[j]:
                    continue  # its output is zero, so is its gradient, sampled or not
                output = y if j == ctx.index else ctx.layer.run(x, j)
                d[j] = (grad * output).sum(dtype=torch.promote_types(grad.dtype, torch.float32))
        return grad, None, d, None, None, None


class GradientGate:
    """The gate of one position in an architecture step.

    Args:
        probs: Probabilities of the candidates, shape (max_candidates,), on the network's device; their
            gradient becomes dL/dg.
        compared: Candidates whose gradient is wanted.
    """

    def __init__(self, probs: Tensor, compared: Sequence[int]) -> None:
        self.probs, self.compared = probs, compared

    def __call__(self, layer: MixedLayer, x: Tensor, y: Tensor, index: int) -> Tensor:
        """Return `y` unchanged, with the gate in its graph."""
        out: Tensor = GateGradient.apply(y, x, self.probs, layer, index, self.compared)
        return out
