"""What both kinds of training share: learning-rate schedule, optimiser, precision, evaluation.

Why here: the supernet's weight steps and the final training of a network differ in settings, not in these.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Annotated, Literal, Protocol

import torch
from pydantic import Field, Strict
from torch import Tensor, nn
from torch.nn import functional as F

from supernet.errors import RunError
from supernet.plain import Positive

Batch = tuple[Tensor, Tensor]
"""Images (N, C, H, W) float32 and labels (N,) int64."""

Precision = Literal["auto", "fp32", "bf16"]

# Ranges of what the settings of both kinds of training hold.
LearningRate = Annotated[Positive, Field(le=100)]
Momentum = Annotated[float, Strict(), Field(ge=0, lt=1)]
WeightDecay = Annotated[float, Strict(), Field(ge=0, le=1)]
LabelSmoothing = Annotated[float, Strict(), Field(ge=0, lt=1)]


class Data(Protocol):
    """Images with labels in three splits: `train` (weights), `validation` (architecture), `test`."""

    def batches(
        self, split: str, batch_size: int, *, start: int = 0, rank: int = 0, num_ranks: int = 1, shuffle: bool = True
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
    decayed = [p for p in module.parameters() if decay_norms or p.ndim > 1]
    plain = [p for p in module.parameters() if not (decay_norms or p.ndim > 1)]
    groups = [{"params": decayed, "weight_decay": weight_decay}]
    if plain:
        groups.append({"params": plain, "weight_decay": 0.0})
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=momentum > 0, foreach=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every group, times its own `rate` where it has one."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group.get("rate", 1.0)


def precision_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context: `auto` is bf16 on GPUs and fp32 on CPUs, where bf16 does not pay."""
    enabled = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch, images in `channels_last` (2 to 3 times faster for depthwise convolutions on CPUs)."""
    images, labels = batch
    moved = images.to(device, memory_format=torch.channels_last, non_blocking=True)
    return moved, labels.to(device, non_blocking=True)


def recalibrate(network: nn.Module, batches: Iterable[Batch], device: torch.device) -> None:
    """Re-estimate the batch-norm statistics of a network as plain means over the given batches.

    Statistics gathered while paths shared the weights belong to no path; a network is judged after this. It is left
    in eval mode.

    Raises:
        RunError: If there is no batch.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    network.train()
    count = 0
    with torch.no_grad():
        for count, batch in enumerate(batches, 1):  # noqa: B007
            network(to_device(batch, device)[0])
    if not count:
        raise RunError("batch norm cannot be recalibrated: there is no batch of training images")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def evaluate(
    network: Callable[[Tensor], Tensor], batches: Iterable[Batch], device: torch.device
) -> tuple[float, float]:
    """Return (top-1 in 0..1, mean cross-entropy) over the batches."""
    correct = loss = torch.zeros((), dtype=torch.float64, device=device)
    count = 0
    with torch.no_grad():
        for batch in batches:
            images, labels = to_device(batch, device)
            logits = network(images).float()
            correct = correct + (logits.argmax(1) == labels).sum()
            loss = loss + F.cross_entropy(logits, labels, reduction="sum")
            count += len(labels)
    return float(correct) / max(count, 1), float(loss) / max(count, 1)
