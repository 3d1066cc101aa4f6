"""Judges paths by what a few steps of training of their own make of the shared weights.

Why apart: sharing leaves paths that are seldom trained worse than they would be alone, and a path's judgement cannot
tell that from a bad architecture; a few steps put most of it right. It must not know costs, budgets or strategies.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch.nn import functional as F

from supernet.judging import Kept, PathJudge
from supernet.network import MixedLayer, Supernet
from supernet.plain import STRICT, Count
from supernet.pool import Judged
from supernet.rng import seeded
from supernet.space import Path
from supernet.training import Data, LearningRate, Precision, linear, precision_context, set_learning_rate, to_device

MOMENTUM = 0.9


@dataclass(frozen=True, config=STRICT)
class FinetuneSettings:
    """Training that a path gets before it is judged: SGD with momentum, its rate falling linearly to zero.

    Attributes:
        num_steps: Optimiser steps.
        batch_size: Images per step; the same images for all paths.
        learning_rate: Of the first step.
    """

    num_steps: Annotated[Count, Field(le=100_000)] = 40
    batch_size: Count = 32
    learning_rate: LearningRate = 0.02

    @property
    def num_images(self) -> int:
        """Images that a path is trained on."""
        return self.num_steps * self.batch_size


class FinetunedJudge:
    """Judges paths one by one, each after training of its own; the supernet is left as it was.

    Args:
        judge: Judges a path with the weights that it has then.
        data: Split `train`.
        settings: How paths are trained.
        precision: In which they are.
        tell: Called after each path with how many of this call are done, and how many there are.
    """

    def __init__(
        self,
        judge: PathJudge,
        data: Data,
        settings: FinetuneSettings,
        *,
        precision: Precision = "auto",
        tell: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.supernet, self.device = judge.supernet, judge.device
        self._judge, self._settings, self._precision, self._tell = judge, settings, precision, tell
        self._images = Kept(lambda: islice(data.batches("train", settings.batch_size), settings.num_steps))

    def __call__(self, paths: Sequence[Path]) -> list[Judged]:
        """Return what validation says of each path of the space, in their order; equal networks are trained once."""
        space = self.supernet.space
        found: dict[tuple[tuple[int, int], ...], Judged] = {}
        for done, path in enumerate(paths, 1):
            if (network := space.kept(path)) not in found:
                with _put_back(self.supernet, path):
                    self._train(path)
                    (found[network],) = self._judge([path])
            self._tell(done, len(paths))
        return [Judged(path, found[space.kept(path)].top1, found[space.kept(path)].loss) for path in paths]

    def _train(self, path: Path) -> None:
        settings = self._settings
        parameters = self.supernet.path_parameters(path)
        optimiser = torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=MOMENTUM, nesterov=True)
        self.supernet.train()
        for step, batch in enumerate(self._images):
            images, labels = to_device(batch, self.device)
            set_learning_rate(optimiser, linear(step, settings.num_steps, settings.learning_rate))
            with seeded(self.device, "finetune", step), precision_context(self._precision, self.device):
                loss = F.cross_entropy(self.supernet(images, path), labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        optimiser.zero_grad()


@contextmanager
def _put_back(supernet: Supernet, path: Path) -> Iterator[None]:
    """Put back weights, statistics and modes of what a path uses."""
    layers = zip(supernet.layers, supernet.space.along(path, 0), strict=True)
    used = [layer.candidates[index] for layer, (_, index) in layers if isinstance(layer, MixedLayer)]
    modes = {module: module.training for module in supernet.modules()}
    before = [{name: value.clone() for name, value in module.state_dict().items()} for module in used]
    try:
        yield
    finally:
        for module, state in zip(used, before, strict=True):
            module.load_state_dict(state)
        for module, mode in modes.items():
            module.training = mode
