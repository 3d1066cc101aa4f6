"""Averaging gradients over data-parallel ranks: only what a step made, in flat buckets.

Why here: `torch.distributed` is torch, so a search runs under torchrun as well as under a cluster. A search
on one process uses `Alone`, which does nothing. No DistributedDataParallel: the parameters of the sampled
path are the only ones with gradients, every rank knows which, so nothing has to be searched for.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor


class Sync(Protocol):
    """How the ranks of one search agree."""

    rank: int
    num_ranks: int

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over ranks; every rank passes the same shapes in the same order."""
        ...

    def averaging(self, parameters: Sequence[Tensor]) -> AbstractContextManager[None]:
        """Average the gradients that a backward pass inside the block gives to the parameters, while it runs."""
        ...

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by rank 0's."""
        ...


def rank_slice(batch_size: int, rank: int, num_ranks: int) -> tuple[int, int]:
    """Return which samples of a global batch are a rank's, as (start, stop).

    Slices are contiguous, in order of rank, and differ by at most one sample.
    """
    return rank * batch_size // num_ranks, (rank + 1) * batch_size // num_ranks


def rank_weight(batch_size: int, rank: int, num_ranks: int) -> float:
    """Return what a rank's mean loss is multiplied by, so that the mean over ranks is that over the batch.

    It is exactly 1 where the batch divides by the ranks.
    """
    start, stop = rank_slice(batch_size, rank, num_ranks)
    return (stop - start) * num_ranks / batch_size


class Alone:
    """One rank: nothing to do."""

    rank = 0
    num_ranks = 1

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors as they are."""

    def averaging(self, parameters: Sequence[Tensor]) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors as they are."""


class AllReduce:
    """All-reduce over the default process group, in flat buckets per dtype and device.

    Args:
        bucket_mib: Size of a bucket; while one is on the wire, the next one is computed or packed.

    Attributes:
        bytes_reduced: Payload handed to all-reduce so far.
    """

    def __init__(self, bucket_mib: float = 4.0) -> None:
        self.rank, self.num_ranks = dist.get_rank(), dist.get_world_size()
        # NCCL takes tensors of its device only, and alpha's gradient is on the CPU.
        self.carrier = torch.device("cuda") if dist.get_backend() == "nccl" else None
        self.bucket_bytes = int(bucket_mib * 2**20)
        self.bytes_reduced = 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """See `Sync.average`."""
        for reduction in [self._start(bucket) for bucket in self._buckets(tensors)]:
            self._finish(*reduction)

    @contextmanager
    def averaging(self, parameters: Sequence[Tensor]) -> Iterator[None]:
        """See `Sync.averaging`. Gradients come last layer first, so buckets are filled in that order.

        A bucket is sent when it and all before it are complete: the order on the wire is the same on every rank.
        """
        learnt = [parameter for parameter in parameters if parameter.requires_grad]
        buckets = self._buckets(learnt[::-1])
        missing = [len(bucket) for bucket in buckets]
        home = {parameter: index for index, bucket in enumerate(buckets) for parameter in bucket}
        started: list[tuple[Any, Tensor, list[Tensor]]] = []

        def ready(parameter: Tensor) -> None:
            missing[home[parameter]] -= 1
            while len(started) < len(buckets) and not missing[len(started)]:
                started.append(self._start(_gradients(buckets[len(started)])))

        hooks = [p.register_post_accumulate_grad_hook(ready) for p in learnt]  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        rest = [gradients for bucket in buckets[len(started) :] if (gradients := _gradients(bucket))]
        for reduction in started + [self._start(gradients) for gradients in rest]:
            self._finish(*reduction)

    def _start(self, bucket: list[Tensor]) -> tuple[Any, Tensor, list[Tensor]]:
        """Send a bucket; return what `_finish` needs."""
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket]).to(self.carrier)
        self.bytes_reduced += flat.numel() * flat.element_size()
        return dist.all_reduce(flat, async_op=True), flat, bucket

    def _finish(self, work: Any, flat: Tensor, bucket: list[Tensor]) -> None:
        """Wait for a bucket and write the means into its tensors."""
        work.wait()
        flat /= self.num_ranks
        for tensor, part in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """See `Sync.broadcast`."""
        for tensor in tensors:
            carried = tensor.to(self.carrier)
            dist.broadcast(carried, src=0)
            tensor.copy_(carried)

    def _buckets(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        buckets: list[list[Tensor]] = []
        size, kind = 0, None
        for tensor in tensors:
            nbytes = tensor.numel() * tensor.element_size()
            if kind != (tensor.dtype, tensor.device) or size + nbytes > self.bucket_bytes:
                buckets.append([])
                size, kind = 0, (tensor.dtype, tensor.device)
            buckets[-1].append(tensor)
            size += nbytes
        return buckets


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def default_sync() -> Sync:
    """Return `AllReduce` where a process group of more than one rank is up, else `Alone`."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return AllReduce()
    return Alone()
