"""What a user may set of one stretch of search, and which settings go together.

Why here: rooms that only read or plan a search need no step machine (`loop`). It must not know how a step is made.
"""

from dataclasses import field
from typing import Literal

import pydantic

from supernet.errors import InputError
from supernet.estimators import EstimatorName, make_estimator
from supernet.objective import ObjectiveSettings
from supernet.plain import STRICT, Count, CountOrNone, Flag
from supernet.prune import PruneSettings
from supernet.training import LearningRate
from supernet.weights import WeightSettings


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class SearchSettings(WeightSettings):
    """One stretch of search: the warm-up (`arch_every` 0) or the search proper.

    Attributes:
        train_weights: False searches alpha on frozen weights: every step is an architecture step.
        arch_every: Weight steps per architecture step; 0 for none (a warm-up: paths are drawn uniformly).
        arch_batch_size: Images per architecture step over all ranks; None for `batch_size`.
        arch_learning_rate: Of alpha: Adam's, with beta1 = 0 so that a logit without gradient does not drift.
        estimator: Of alpha's gradient; what each promises and costs stands in docs/search.md.
        num_samples: Paths per step of the `reinforce` estimator.
        arch_paths: Whether ranks draw their own paths in architecture steps or all the same one.
        objective: What alpha minimises.
        prune: When improbable candidates are dropped; None for never.
        recompute: Recompute inside blocks in the backward pass of every step: less memory, more time.
        compile: Compile every candidate on its own at its first use; pays on long runs on GPUs.
        check_every: Steps between checks for NaN (each waits for the device once).
    """

    train_weights: Flag = True
    arch_every: CountOrNone = 5
    arch_batch_size: Count | None = None
    arch_learning_rate: LearningRate = 1e-3
    estimator: EstimatorName = "one-path"
    num_samples: Count = 10
    arch_paths: Literal["per-rank", "shared"] = "per-rank"
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    prune: PruneSettings | None = None
    recompute: Flag = False
    compile: Flag = False
    check_every: Count = 20

    @pydantic.model_validator(mode="after")
    def _goes_together(self) -> "SearchSettings":
        make_estimator(self.estimator, self.num_samples)  # it knows what it needs
        return self

    @property
    def searches(self) -> bool:
        """Whether alpha is searched: false in a warm-up."""
        return self.arch_every > 0 or not self.train_weights

    def check(self, place: str) -> None:
        """Refuse a search that could not search or prune, naming the key after `place`.

        Not where settings are read: in a sweep its mode decides about `train_weights`, whatever stands beside it.
        """
        if not self.searches:
            return
        stride = self.arch_every if self.train_weights else 1
        if self.sharing.order != "uniform":
            raise InputError(f"{place}.sharing.order: {self.sharing.order!r} is for a warm-up; remove this key")
        if stride > self.num_steps:
            raise InputError(
                f"{place}.arch_every: {stride}, more than num_steps {self.num_steps}: no architecture step would be "
                "made; lower it or raise num_steps"
            )
        if self.prune and (reason := self.prune.idle(self.num_steps, stride)):
            raise InputError(f"{place}.prune: {reason}")
