"""What both kinds of training share: learning-rate schedule, optimiser, precision, evaluation.

Why here: the supernet's weight steps and the final training of a network differ in settings, not in these.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import torch
from pydantic import Field, Strict
from torch import Tensor, nn
from torch.nn import functional as F

from supernet.errors import RunError
from supernet.plain import Positive

Batch = tuple[Tensor, Tensor]
"""Images (N, C, H, W) float32 and labels (N,) int64."""

MAX_AT_ONCE = 256
"""Images that run at once where nothing is trained: every rank runs them all, in fp32, however many share a batch."""

Precision = Literal["auto", "fp32", "bf16"]

# Ranges of what the settings of both kinds of training hold.
LearningRate = Annotated[Positive, Field(le=100)]
Momentum = Annotated[float, Strict(), Field(ge=0, lt=1)]
WeightDecay = Annotated[float, Strict(), Field(ge=0, le=1)]
LabelSmoothing = Annotated[float, Strict(), Field(ge=0, lt=1)]
OptimiserName = Literal["sgd", "adamw"]


class Data(Protocol):
    """Images with labels in three splits: `train` (weights), `validation` (architecture), `test`."""

    def batches(
        self, split: str, batch_size: int, *, start: int = 0, rank: int = 0, num_ranks: int = 1
    ) -> Iterator[Batch]:
        """Yield batches without end; batch `i` is a pure function of the data's seed, `i` and the rank."""
        ...

    def once(self, split: str, batch_size: int, *, limit: int | None = None) -> Iterator[Batch]:
        """Yield a split once, in order, without augmentation."""
        ...


def cosine(step: int, num_steps: int, peak: float, warmup_steps: int = 0) -> float:
    """Return the learning rate of a step: linear warm-up to `peak`, then a cosine to zero."""
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return 0.5 * peak * (1 + math.cos(math.pi * min(1.0, progress)))


def linear(step: int, num_steps: int, peak: float) -> float:
    """Return the learning rate of a step on a line from `peak` to zero."""
    return peak * max(0.0, 1 - step / num_steps)


def constant(step: int, num_steps: int, peak: float) -> float:
    """Return `peak`."""
    return peak


ScheduleName = Literal["cosine", "linear", "constant"]

SCHEDULES: dict[ScheduleName, Callable[[int, int, float], float]] = {
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
}


def sgd(
    module: nn.Module, learning_rate: float, momentum: float, weight_decay: float, *, decay_norms: bool
) -> torch.optim.SGD:
    """Return Nesterov SGD; without `decay_norms`, one-dimensional parameters (batch norm, biases) do not decay.

    Parameters without a gradient in a step are passed over: neither decay nor momentum touches them.
    """
    groups = _decay_groups(module, weight_decay, decay_norms)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=momentum > 0, foreach=True)


def adamw(module: nn.Module, learning_rate: float, weight_decay: float, *, decay_norms: bool) -> torch.optim.AdamW:
    """Return AdamW; which parameters decay is as for `sgd`."""
    return torch.optim.AdamW(_decay_groups(module, weight_decay, decay_norms), lr=learning_rate, foreach=True)


def _decay_groups(module: nn.Module, weight_decay: float, decay_norms: bool) -> list[dict[str, Any]]:
    decayed = [p for p in module.parameters() if decay_norms or p.ndim > 1]
    plain = [p for p in module.parameters() if not (decay_norms or p.ndim > 1)]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": weight_decay}]
    return [*groups, {"params": plain, "weight_decay": 0.0}] if plain else groups


def learning_rate(optimiser: torch.optim.Optimizer) -> float:
    """Return the rate of the last step, without any group's own factor."""
    group = optimiser.param_groups[0]
    return float(group["lr"] / group.get("rate", 1.0))


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every group, times its own `rate` where it has one."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group.get("rate", 1.0)


def resolved(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """Return what a precision means: `auto` is bf16 on GPUs and fp32 on CPUs, where bf16 does not pay."""
    if precision == "auto":
        return "bf16" if device.type == "cuda" else "fp32"
    return precision


def precision_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context of a precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=resolved(precision, device) == "bf16")


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch, images in `channels_last` (2 to 3 times faster for depthwise convolutions on CPUs)."""
    images, labels = batch
    moved = images.to(device, memory_format=torch.channels_last, non_blocking=True)
    return moved, labels.to(device, non_blocking=True)


def at_once(batch_size: int) -> int:
    """Return how many images of a global batch run at once where nothing is trained."""
    return min(batch_size, MAX_AT_ONCE)


def full_batches(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches for batch-norm statistics: those as large as the first, which leaves out a short last one.

    A plain mean would weigh its few images like many, and one image alone may have no variance.
    """
    size = 0
    for batch in batches:
        if (size := size or len(batch[1])) == len(batch[1]):
            yield batch


def recalibrate(network: nn.Module, batches: Iterable[Batch], device: torch.device) -> None:
    """Re-estimate the batch-norm statistics of a network as plain means over the given batches, see `full_batches`.

    Statistics gathered while paths shared the weights belong to no path; a network is judged after this. It is left
    in eval mode, where all but its batch norm is from the start: dropout would make them those of another network.

    Raises:
        RunError: If there is no batch.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    network.eval()
    for norm in norms:
        norm.train()
    count = 0
    with torch.no_grad():
        for count, batch in enumerate(full_batches(batches), 1):  # noqa: B007
            network(to_device(batch, device)[0])
    if not count:
        raise RunError("batch norm cannot be recalibrated: there is no batch of training images")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


@dataclass(frozen=True)
class Evaluation:
    """What a network says of some images.

    Attributes:
        top1: Share of the images whose label it names first, 0..1.
        top5: Share of those whose label is among its first five.
        loss: Mean cross-entropy.
        class_top1: Top-1 of each class; None for a class without images.
    """

    top1: float
    top5: float
    loss: float
    class_top1: tuple[float | None, ...]


def evaluate(network: Callable[[Tensor], Tensor], batches: Iterable[Batch], device: torch.device) -> Evaluation:
    """Return what a network says of the batches, together; it is waited for once, at the end.

    Raises:
        RunError: If there is no batch.
    """
    sums: Tensor | None = None
    with torch.no_grad():
        for batch in batches:
            images, labels = to_device(batch, device)
            logits = network(images).float()
            if sums is None:
                sums = torch.zeros(4, logits.shape[1], dtype=torch.float64, device=device)
            hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
            losses = F.cross_entropy(logits, labels, reduction="none")
            seen = torch.stack([torch.ones_like(losses), hits[:, 0], hits.any(1), losses]).double()
            sums.index_add_(1, labels, seen)
    if sums is None:
        raise RunError("there is no image to evaluate on")
    counts, *_ = by_class = sums.tolist()
    total, first, five, loss = map(sum, by_class)
    classes = tuple(hit / count if count else None for count, hit in zip(counts, by_class[1], strict=True))
    return Evaluation(first / total, five / total, loss / total, classes)
