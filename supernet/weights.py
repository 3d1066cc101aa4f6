"""The weight step of a search: the paths of a step, each on its share of the batch, and one SGD step for all.

Why apart from `loop`: what makes shared weights rank paths well stands here. It knows neither alpha nor costs; which
paths may be drawn, and the batch, are passed in. Memory is that of one path: each path's graph is gone before the next
one's is built, and a teacher's pass has none.
"""

from contextlib import nullcontext
from typing import Any

import pydantic
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from supernet.averaging import make_average
from supernet.network import MixedLayer, Supernet
from supernet.ops import frozen_statistics
from supernet.plain import STRICT, Count
from supernet.rng import seeded
from supernet.sharing import PathSchedule, SharingSettings
from supernet.space import Path
from supernet.sync import Sync, rank_slice, rank_weight
from supernet.training import (
    SCHEDULES,
    Batch,
    LabelSmoothing,
    LearningRate,
    Momentum,
    Precision,
    ScheduleName,
    WeightDecay,
    learning_rate,
    precision_context,
    set_learning_rate,
)


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class WeightSettings:
    """How weights are trained in a stretch of search.

    Attributes:
        num_steps: Steps of this stretch.
        batch_size: Images per weight step over all ranks.
        learning_rate: Peak of the schedule.
        schedule: Of the learning rate over the steps; `cosine` and `linear` end at zero.
        momentum: Nesterov's.
        weight_decay: Of all weights that a step's paths use.
        label_smoothing: Share of the target that is spread over all classes.
        sharing: How paths share the weights.
        precision: `auto` is bf16 autocast on GPUs and float32 on CPUs.
    """

    num_steps: Count
    batch_size: Count = 256
    learning_rate: LearningRate = 0.05
    schedule: ScheduleName = "cosine"
    momentum: Momentum = 0.9
    weight_decay: WeightDecay = 4e-5
    label_smoothing: LabelSmoothing = 0.1
    sharing: SharingSettings = Field(default_factory=SharingSettings)
    precision: Precision = "auto"


class WeightTraining:
    """Trains the weights of a supernet, a step at a time.

    Args:
        supernet: Trained in place, on the device where it runs.
        settings: Recipe.
        seed: Of the paths, and of dropout in operators that have it.
        sync: The ranks of this training.
    """

    def __init__(self, supernet: Supernet, settings: WeightSettings, *, seed: int, sync: Sync) -> None:
        self.supernet, self.settings, self.seed, self.sync = supernet, settings, seed, sync
        self.device = next(supernet.parameters()).device
        self.schedule = PathSchedule(supernet.space, settings.sharing, seed)
        self.optimiser = _optimiser(supernet, settings)
        self.average = make_average(dict(supernet.named_parameters()), settings.sharing.average)

    @property
    def learning_rate(self) -> float:
        """Rate of the last step."""
        return learning_rate(self.optimiser)

    def step(self, step: int, probs: Tensor, batch: Batch) -> Tensor:
        """Make one step and return the mean loss of this rank's images, a scalar on the device.

        Args:
            step: Index of the step.
            probs: Distribution of paths, shape (num_positions, max_candidates).
            batch: This rank's images (N, C, H, W) and labels (N,).
        """
        settings, sync = self.settings, self.sync
        paths = self.schedule.paths(step, probs)
        parameters = list(dict.fromkeys(p for path in paths for p in self.supernet.path_parameters(path)))
        weight = rank_weight(settings.batch_size, sync.rank, sync.num_ranks)
        shares = self._shares(batch, len(paths))
        total = torch.zeros((), device=self.device)
        with seeded(self.device, self.seed, "dropout", step, sync.rank):
            for number, (path, (images, labels)) in enumerate(zip(paths, shares, strict=True), 1):
                loss = self._loss(path, paths[0], images, labels) * (len(labels) / len(batch[1]))
                # Gradients add up over the paths and are averaged over the ranks with the last one's.
                with sync.averaging(parameters) if number == len(shares) else nullcontext():
                    (loss * weight).backward()  # type: ignore[no-untyped-call]
                total = total + loss.detach()
        rate = SCHEDULES[settings.schedule](step, settings.num_steps, settings.learning_rate)
        set_learning_rate(self.optimiser, rate)
        self.optimiser.step()
        for parameter in parameters:
            parameter.grad = None
        self.average.update(step)
        if step + 1 == settings.num_steps:
            self.average.write_back()
        return total

    def _shares(self, batch: Batch, count: int) -> list[Batch]:
        """Return each path's images of this rank: the global batch is dealt out in turn, so ranks do not matter."""
        images, labels = batch
        start, _ = rank_slice(self.settings.batch_size, self.sync.rank, self.sync.num_ranks)
        return [(images[first::count], labels[first::count]) for first in ((i - start) % count for i in range(count))]

    def _loss(self, path: Path, largest: Path, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a path; with distillation, all but the largest also learn the outputs of that."""
        settings, share = self.settings, self.settings.sharing.distillation
        with precision_context(settings.precision, self.device):
            logits = self.supernet(images, path)
            loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
            if not share or path == largest:
                return loss
            with torch.no_grad(), frozen_statistics(self.supernet):
                taught = self.supernet(images, largest)
            wide = torch.promote_types(logits.dtype, torch.float32)
            return (1 - share) * loss + share * F.cross_entropy(logits.to(wide), taught.to(wide).softmax(1))

    def drop(self, layer: MixedLayer, index: int) -> None:
        """Remove a candidate for good: from the supernet, the optimiser and the average."""
        gone = set(layer.candidates[index].parameters())
        for group in self.optimiser.param_groups:
            group["params"] = [p for p in group["params"] if p not in gone]
        for parameter in gone:
            self.optimiser.state.pop(parameter, None)
        self.average.drop([name for name, p in self.supernet.named_parameters() if p in gone])
        layer.drop(index)

    def state_dict(self) -> dict[str, Any]:
        """Return what a restart needs beside the weights; as in torch, live tensors."""
        return {"optimiser": self.optimiser.state_dict(), "average": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.load_state_dict(state["average"])


def _optimiser(supernet: Supernet, settings: WeightSettings) -> torch.optim.SGD:
    """Return Nesterov SGD with candidates in a group of their own; everything decays, as in the released search.

    Parameters without a gradient in a step are passed over: neither decay nor momentum touches them.
    """
    searched, fixed = list[nn.Parameter](), list[nn.Parameter]()
    for layer, plan in zip(supernet.layers, supernet.space.layers, strict=True):
        (searched if plan.searched else fixed).extend(layer.parameters())
    sharing = settings.sharing
    momentum = settings.momentum if sharing.candidate_momentum is None else sharing.candidate_momentum
    groups = [
        {"params": fixed, "momentum": settings.momentum, "nesterov": settings.momentum > 0},
        {"params": searched, "momentum": momentum, "nesterov": momentum > 0, "rate": sharing.candidate_rate},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        foreach=True,
    )
