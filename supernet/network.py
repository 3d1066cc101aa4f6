"""The supernet, and the standalone network of one architecture. Both are built from the same operators.

Why here: how layers are joined (shortcuts, skips, order) stands in one place. The path is an argument of
`forward`, never hidden state; nothing here samples, trains or knows what a path costs.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from supernet import ops
from supernet.rows import Layer
from supernet.space import Architecture, Path, Space


class Gate(Protocol):
    """What an architecture step puts at a position (see `gates`)."""

    def __call__(self, layer: "MixedLayer", x: Tensor, y: Tensor, index: int) -> Tensor:
        """Return `y`, the output of candidate `index` on `x`, recorded so that its gradient reaches alpha."""
        ...


class MixedLayer(nn.Module):
    """All candidates of one layer. A dropped candidate is `None`: its memory is gone for good."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.residual = layer.residual
        self.zero = tuple(op.name == "zero" for op in layer.candidates)
        self.candidates = nn.ModuleList(ops.build(op, layer) for op in layer.candidates)

    def run(self, x: Tensor, index: int) -> Tensor:
        """Return the output of one candidate, without the shortcut: (N, C_in, H, W) to (N, C_out, H', W')."""
        y: Tensor = self.candidates[index](x)
        return y

    def start_at_zero(self) -> None:
        """Have all candidates put out zeros until they are trained, where there is a shortcut beside them."""
        for candidate in self.candidates if self.residual else ():
            ops.start_at_zero(candidate)

    def living(self) -> list[int]:
        """Return the candidates that have not been dropped."""
        return [index for index, candidate in enumerate(self.candidates) if candidate is not None]

    def drop(self, index: int) -> None:
        """Remove a candidate and its weights."""
        self.candidates[index] = None  # type: ignore[assignment]


class Supernet(nn.Module):
    """The over-parameterised network: every layer holds all its candidates, one path runs at a time.

    Args:
        space: What to build.
        seed: Seed of the weights.
        zero_init_residual: Blocks beside a shortcut begin as if they were dropped, see `ops.start_at_zero`.

    Attributes:
        recompute: Keep only block boundaries for the backward pass and recompute inside blocks (less memory).
    """

    def __init__(self, space: Space, *, seed: int = 0, zero_init_residual: bool = False) -> None:
        super().__init__()
        self.space = space
        self.recompute = False
        ops.load_operators(space.operators)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.layers = nn.ModuleList(MixedLayer(layer) for layer in space.layers)
        if zero_init_residual:
            for layer in self.layers:
                assert isinstance(layer, MixedLayer)
                layer.start_at_zero()
        self.to(memory_format=torch.channels_last)
        self.position_layers = tuple(i for i, layer in enumerate(space.layers) if layer.searched)

    def forward(self, x: Tensor, path: Path, gates: Sequence[Gate] | None = None) -> Tensor:
        """Run one path.

        Args:
            x: Images, shape (N, C, H, W).
            path: One candidate index per position.
            gates: One gate per position in an architecture step, else None.

        Returns:
            Logits, shape (N, num_classes).
        """
        gated: Sequence[Gate | None] = gates or [None] * len(path)
        steps = zip(self.layers, self.space.along(path, 0), self.space.along(gated, None), strict=True)
        for layer, (_, index), (_, gate) in steps:
            assert isinstance(layer, MixedLayer)
            if layer.zero[index] and gate is None:
                continue  # the block is dropped: shortcut plus zero
            y = self._run(layer, x, index)
            if gate is not None:
                y = gate(layer, x, y, index)
            x = x + y if layer.residual else y
        return x

    def compile_candidates(self, backend: str = "inductor") -> None:
        """Compile every candidate on its own; candidates of equal kind and shape share their code.

        The path changes every step, so the network as a whole cannot be compiled. One forward serves many
        shapes here, so the process's limit of recompilations is raised.

        Args:
            backend: Name of a `torch.compile` backend.
        """
        limits = torch._dynamo.config
        limits.recompile_limit = max(limits.recompile_limit, 1024)
        limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, 8192)
        for layer in self.layers:
            assert isinstance(layer, MixedLayer)
            for candidate, zero in zip(layer.candidates, layer.zero, strict=True):
                if candidate is not None and not zero:
                    candidate.compile(backend=backend, dynamic=False)

    def _run(self, layer: MixedLayer, x: Tensor, index: int) -> Tensor:
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return layer.run(x, index)
        candidate = layer.candidates[index]
        # The second forward must not update the running statistics again.
        contexts = lambda: (nullcontext(), ops.scratch_statistics(candidate))  # noqa: E731
        y: Tensor = checkpoint(layer.run, x, index, use_reentrant=False, context_fn=contexts)
        return y

    def path_parameters(self, path: Path) -> list[nn.Parameter]:
        """Return the parameters that a path uses, in a fixed order."""
        found: list[nn.Parameter] = []
        for layer, (_, index) in zip(self.layers, self.space.along(path, 0), strict=True):
            assert isinstance(layer, MixedLayer)
            found += layer.candidates[index].parameters()
        return found


class Block(nn.Module):
    """One operator of a standalone network with its shortcut."""

    def __init__(self, op: nn.Module, residual: bool) -> None:
        super().__init__()
        self.op = op
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H', W')."""
        y: Tensor = self.op(x)
        return x + y if self.residual else y


def build_blocks(space: Space, choices: Iterable[tuple[int, int]], *, seed: int) -> nn.Sequential:
    """Build some layers of a space in sequence, each with its shortcut.

    Args:
        space: Whose layers are meant.
        choices: (layer index, candidate index) of each block.
        seed: Seed of the weights.
    """
    ops.load_operators(space.operators)
    blocks = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for number, index in choices:
            layer = space.layers[number]
            blocks.append(Block(ops.build(layer.candidates[index], layer), layer.residual))
    return nn.Sequential(*blocks)


def build_network(space: Space, architecture: Architecture, *, seed: int = 0) -> nn.Sequential:
    """Build the standalone network of an architecture: plain blocks, nothing of the supernet in it.

    Args:
        space: The architecture's space; its `dropout` is set in its classifier, and nowhere else.
        architecture: What to build.
        seed: Seed of the weights.

    Returns:
        Module from (N, C, H, W) to (N, num_classes).
    """
    network = build_blocks(space, space.kept(space.path(architecture)), seed=seed)
    for module in network.modules():
        if isinstance(module, ops.Classifier):
            module.dropout.p = space.dropout
    return network


def inherit_weights(network: nn.Sequential, supernet: Supernet, architecture: Architecture) -> None:
    """Copy the weights and statistics of an architecture's path from the supernet into its standalone network."""
    kept = supernet.space.kept(supernet.space.path(architecture))
    for block, (number, index) in zip(network, kept, strict=True):
        source = supernet.layers[number]
        assert isinstance(block, Block)
        assert isinstance(source, MixedLayer)
        block.op.load_state_dict(source.candidates[index].state_dict())
