"""Memory that inference takes beside the weights: the most bytes of tensors that are alive at once, counted.

Why here: like parameters and MACs it comes from running the modules on the meta device. It must not know runtimes.

What counts, for one image in fp32: a block's input for as long as it is read (its shortcut reads it last), and every
tensor that an operation inside makes. An operation that maps elements one to one, an activation or the batch norm that
a file folds away, writes over its input where nothing reads that any more, as runtimes do. Weights are not counted, nor
what kernels take for themselves.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from supernet import ops
from supernet.cost import LayerTrace, trace
from supernet.rows import ZERO, Layer, Op
from supernet.space import Path, Space


def peaks(space: Space) -> tuple[tuple[int, ...], ...]:
    """Return the bytes of every candidate of every layer at its peak, in the space's order.

    A network is a chain, between two blocks only one tensor is alive: its peak is the highest of its blocks'.
    """
    return tuple(tuple(_peak_of(t, op) for op in t.layer.candidates) for t in trace(space))


def network_peak(space: Space, path: Path) -> int:
    """Return the bytes of a network at its peak."""
    blocks = zip(trace(space), space.along(path, 0), strict=True)
    return max(_peak_of(t, t.layer.candidates[index]) for t, (_, index) in blocks)


def _peak_of(traced: LayerTrace, op: Op) -> int:
    if op == ZERO:  # the block is dropped
        return 4 * prod(traced.in_shape)
    return _known_peak(traced.layer.bare, op, traced.in_shape)


@lru_cache(maxsize=4096)
def _known_peak(layer: Layer, op: Op, shape: tuple[int, ...]) -> int:
    with torch.device("meta"):
        module = ops.build(op, layer).eval()
    return peak_bytes(module, shape, residual=layer.residual)


def peak_bytes(module: nn.Module, shape: tuple[int, ...], *, residual: bool) -> int:
    """Return the most bytes that are alive at once in one block.

    Args:
        module: On the meta device, in eval mode.
        shape: (C, H, W) of its input.
        residual: Whether its input is added to its output.
    """
    x = torch.empty((1, *shape), device="meta")
    log = _Log(x, [*module.parameters(), *module.buffers()])
    with log, torch.no_grad():
        y = module(x)
        if residual:
            y = x + y
    return log.peak(y)


class _Log(TorchDispatchMode):
    """Notes which storages every operation reads and writes; keeps all tensors, so that no storage's number returns."""

    def __init__(self, x: Tensor, weights: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept = [x]
        self.bytes = {self._key(x): x.untyped_storage().nbytes()}
        self.weights = {self._key(weight) for weight in weights}
        self.steps: list[tuple[bool, set[int], set[int]]] = []

    @staticmethod
    def _key(tensor: Tensor) -> int:
        return int(tensor.untyped_storage()._cdata)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and take note of it."""
        made = func(*args, **(kwargs or {}))
        reads = {self._key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        writes = {self._key(leaf): leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)}
        self.kept += writes.values()
        for key in writes.keys() - self.weights:  # a view of a weight makes nothing
            self.bytes.setdefault(key, writes[key].untyped_storage().nbytes())
        elementwise = torch.Tag.pointwise in func.tags or "batch_norm" in str(func)
        counted = self.bytes.keys()
        self.steps.append((elementwise, reads & counted, writes.keys() & counted))
        return made

    def peak(self, result: Tensor) -> int:
        """Return the most bytes alive during one operation; the result is alive to the end."""
        last = {key: step for step, (_, reads, writes) in enumerate(self.steps) for key in reads | writes}
        last[self._key(result)] = len(self.steps)
        place = {key: key for key in self.bytes}
        for step, (elementwise, reads, writes) in enumerate(self.steps):
            for key in writes - reads if elementwise else ():
                free = [k for k in reads if last[k] == step and self.bytes[k] == self.bytes[key] > 0]
                if free:
                    place[key] = place[free[0]]
        alive: dict[int, tuple[int, int]] = {}
        for step, (_, reads, writes) in enumerate(self.steps):
            for key in reads | writes:
                begin, end = alive.get(place[key], (step, step))
                alive[place[key]] = (min(begin, step), max(end, last[key]))
        moments = range(max(len(self.steps), 1))
        return max(
            (sum(self.bytes[k] for k, (begin, end) in alive.items() if begin <= step <= end) for step in moments),
            default=0,
        ) or sum(self.bytes.values())
