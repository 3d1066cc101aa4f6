"""How much memory a training step takes beside the weights: counted on tensors that have a shape and no content.

Why here: what a night needs is planned before anything is started, and a step may not fit this machine. It must not
know clusters, data or files.
"""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from supernet.gates import GradientGate
from supernet.network import Supernet
from supernet.ops import frozen_statistics, scratch_statistics
from supernet.space import Path
from supernet.training import Precision, precision_context

CPU = torch.device("cpu")


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of the storages that are made in the block and still held, and the most of them at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and take note of what it made."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor.untyped_storage())
        return made

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def weight_step_bytes(
    supernet: Supernet, path: Path, num_images: int, precision: Precision = "fp32", *, recompute: bool = False
) -> int:
    """Return the most bytes that a weight step has at once beside the weights: activations, gradients.

    Args:
        supernet: In training mode, on the CPU; it is left as it was.
        path: Of the step.
        num_images: Of one rank.
        precision: Of the activations; gradients are in fp32.
        recompute: See `Supernet`.
    """
    with scratch_statistics(supernet), _counting(supernet, recompute) as counted:
        images, labels = _batch(supernet, num_images)
        with precision_context(precision, CPU):
            loss = F.cross_entropy(supernet(images, path), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in supernet.parameters():
            parameter.grad = None
    return counted.peak


def arch_step_bytes(
    supernet: Supernet,
    path: Path,
    num_images: int,
    precision: Precision = "fp32",
    *,
    graph: bool = True,
    recompute: bool = False,
) -> int:
    """Return the most bytes that an architecture step has at once beside the weights, of which it makes no gradients.

    Args:
        supernet: In training mode, on the CPU; it is left as it was.
        path: The candidates in the graph.
        num_images: Of one rank.
        precision: Of the activations.
        graph: Whether the estimator goes through the network; false for `reinforce`, which only judges paths.
        recompute: See `Supernet`.
    """
    with frozen_statistics(supernet), _counting(supernet, recompute) as counted:
        images, labels = _batch(supernet, num_images)
        with torch.set_grad_enabled(graph), precision_context(precision, CPU):
            rows = [torch.ones(len(position.candidates), requires_grad=graph) for position in supernet.space.positions]
            gates = [GradientGate(row, range(len(row))) for row in rows] if graph else None
            loss = F.cross_entropy(supernet(images, path, gates), labels)
        if graph:
            torch.autograd.grad(loss, rows)
    return counted.peak


@contextmanager
def _counting(supernet: Supernet, recompute: bool) -> Iterator[PeakBytes]:
    """Count what a step makes of tensors without content, of a supernet that recomputes or not meanwhile."""
    counted, known, supernet.recompute = PeakBytes(), supernet.recompute, recompute
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), counted:
            yield counted
    finally:
        supernet.recompute = known


def _batch(supernet: Supernet, num_images: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.zeros(num_images, *supernet.space.input_size).to(memory_format=torch.channels_last)
    return images, torch.zeros(num_images, dtype=torch.int64)
