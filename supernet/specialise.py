"""A standalone network and its final training: inherited weights or fresh ones, then to the end.

Why here: from here on nothing of the supernet is left; the result is a plain module. `Training` is a step
machine like the search, so it survives a crash the same way.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field, Strict, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from supernet.averaging import make_average
from supernet.health import check_loss
from supernet.mixing import Targets, make_mixing
from supernet.network import Supernet, build_network, inherit_weights
from supernet.plain import STRICT, Count, CountOrNone, Flag, NotNegative
from supernet.rng import seeded
from supernet.space import Architecture
from supernet.sync import Alone, Sync, rank_slice, rank_weight
from supernet.training import (
    Batch,
    Data,
    Evaluation,
    LabelSmoothing,
    LearningRate,
    Momentum,
    OptimiserName,
    Precision,
    WeightDecay,
    adamw,
    at_once,
    cosine,
    evaluate,
    precision_context,
    recalibrate,
    set_learning_rate,
    sgd,
    to_device,
)

LOOK_EVERY = 20
"""Steps between two looks at the loss; each waits for the device once."""


@dataclass(frozen=True, config=STRICT)
class TrainSettings:
    """Final training of one network; the defaults are the paper's recipe, steps aside (`recipes` has another).

    Attributes:
        num_steps: Optimiser steps (the paper: 300 epochs).
        batch_size: Images per step over all ranks.
        optimiser: Nesterov SGD, or AdamW (which leaves `momentum` aside).
        learning_rate: Peak of a cosine that ends at zero.
        warmup_steps: Steps in which the learning rate rises to its peak.
        momentum: Nesterov's.
        weight_decay: Of convolutions and linear layers, and of the rest with `decay_norms`.
        inherit: Start from the supernet's weights; False starts afresh, as the paper does.
        decay_norms: Whether batch norm and biases decay (the paper: no).
        label_smoothing: Share of the target that is spread over all classes.
        mixup: Images are mixed in pairs with shares of a Beta distribution of this parameter; 0 for not.
        cutmix: The same by rectangles; with both, a step takes one or the other. See `supernet.mixing`.
        average: Decay per step of an exponential average of the weights, which replaces them at the end; 0 for none.
        precision: `auto` is bf16 autocast on GPUs and float32 on CPUs.
        recalibration_batches: Training batches that batch-norm statistics are taken from once more at the end.
    """

    num_steps: Count
    batch_size: Count = 256
    optimiser: OptimiserName = "sgd"
    learning_rate: LearningRate = 0.05
    warmup_steps: CountOrNone = 0
    momentum: Momentum = 0.9
    weight_decay: WeightDecay = 4e-5
    decay_norms: Flag = False
    label_smoothing: LabelSmoothing = 0.1
    mixup: Annotated[NotNegative, Field(le=100)] = 0.0
    cutmix: Annotated[NotNegative, Field(le=100)] = 0.0
    average: Annotated[float, Strict(), Field(ge=0, lt=1)] = 0.0
    inherit: Flag = True
    precision: Precision = "auto"
    recalibration_batches: Count = 20

    @model_validator(mode="after")
    def _reaches_its_rate(self) -> "TrainSettings":
        if self.warmup_steps >= self.num_steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be below num_steps {self.num_steps}")
        return self


class Training:
    """Trains one standalone network.

    Args:
        network: Trained in place, on the device where it should run.
        settings: Recipe.
        data: Splits `train`, `validation`, `test`.
        seed: Of dropout and mixing.
        sync: The ranks of this training.
    """

    def __init__(
        self, network: nn.Module, settings: TrainSettings, data: Data, *, seed: int, sync: Sync | None = None
    ) -> None:
        self.network, self.settings, self.data, self.seed = network, settings, data, seed
        self.sync: Sync = sync or Alone()
        self.device = next(network.parameters()).device
        self.optimiser = _optimiser(network, settings)
        self.mixing = make_mixing(settings.mixup, settings.cutmix, seed=seed)
        self.average = make_average(dict(network.named_parameters()), settings.average)
        self.step_index = 0
        self._stream: Iterator[Batch] | None = None
        network.train()

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return self.step_index >= self.settings.num_steps

    @property
    def looks(self) -> bool:
        """Whether the loss of the last step is looked at."""
        return self.done or self.step_index % LOOK_EVERY == 0

    def step(self) -> Tensor:
        """Make one optimiser step and return its loss.

        Raises:
            RunError: If the loss is looked at and not finite.
        """
        s, rank, num_ranks = self.settings, self.sync.rank, self.sync.num_ranks
        if self._stream is None:
            self._stream = self.data.batches(
                "train", s.batch_size, start=self.step_index, rank=rank, num_ranks=num_ranks
            )
        images, labels = to_device(next(self._stream), self.device)
        first, _ = rank_slice(s.batch_size, rank, num_ranks)
        images, targets = self.mixing(self.step_index, first, images, labels)
        draws = seeded(self.device, self.seed, "dropout", self.step_index, rank)
        with draws, precision_context(s.precision, self.device):
            loss = self._loss(self.network(images), targets)
        self.optimiser.zero_grad()
        weight = rank_weight(s.batch_size, rank, num_ranks)
        with self.sync.averaging(list(self.network.parameters())):
            (loss * weight).backward()  # type: ignore[no-untyped-call]
        set_learning_rate(self.optimiser, cosine(self.step_index, s.num_steps, s.learning_rate, s.warmup_steps))
        self.optimiser.step()
        self.average.update(self.step_index)
        self.step_index += 1
        loss = loss.detach()
        if self.looks:
            check_loss(f"final training, step {self.step_index - 1}", loss)
        return loss

    def _loss(self, logits: Tensor, targets: Targets) -> Tensor:
        smoothing = self.settings.label_smoothing
        losses = [share * F.cross_entropy(logits, labels, label_smoothing=smoothing) for share, labels in targets]
        return torch.stack(losses).sum()

    def finish(self) -> None:
        """Take the averaged weights, re-estimate batch-norm statistics, and leave the network in eval mode.

        During training each rank keeps its own statistics and none are used; those of unshuffled training images make
        the result the same for any number of ranks.
        """
        self.average.write_back()
        batch_size = self.settings.batch_size
        limit = self.settings.recalibration_batches * batch_size
        recalibrate(self.network, self.data.once("train", at_once(batch_size), limit=limit), self.device)

    def evaluate(self, split: str) -> Evaluation:
        """Return what the network says of a split."""
        return evaluate(self.network, self.data.once(split, at_once(self.settings.batch_size)), self.device)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a restart needs."""
        return {
            "step_index": self.step_index,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.load_state_dict(state["average"])
        self.step_index, self._stream = state["step_index"], None


def _optimiser(network: nn.Module, s: TrainSettings) -> torch.optim.Optimizer:
    if s.optimiser == "adamw":
        return adamw(network, s.learning_rate, s.weight_decay, decay_norms=s.decay_norms)
    return sgd(network, s.learning_rate, s.momentum, s.weight_decay, decay_norms=s.decay_norms)


def specialise(supernet: Supernet, architecture: Architecture, *, inherit: bool, seed: int) -> nn.Sequential:
    """Build the standalone network of an architecture, in the supernet's precision and on its device.

    Args:
        supernet: Source of the weights, where `inherit` is true.
        architecture: Of the supernet's space.
        inherit: Whether to start from the supernet's weights.
        seed: Of fresh weights.
    """
    like = next(supernet.parameters())
    network = build_network(supernet.space, architecture, seed=seed).to(like)
    if inherit:
        inherit_weights(network, supernet, architecture)
    return network.to(memory_format=torch.channels_last)
