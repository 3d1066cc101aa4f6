"""Who computes, as a user writes it: the data-parallel workers of a run, and what each of them takes.

It must not know a cluster (`orchestrator.cluster.room`).
"""

from typing import Annotated, Any

from pydantic import Field, model_validator

from orchestrator.plan.requirements import Strict
from supernet.plain import Count, NotNegative, Positive, Text

MAX_WORKERS = 100_000


class WorkersConfig(Strict):
    """Data-parallel workers of one Ray Train run.

    Attributes:
        min: Fewest workers to run with.
        max: Most workers; more than `min` lets the run grow and shrink with the cluster.
        cpus: CPUs per worker.
        gpus: GPUs per worker.
        resources: Custom resources per worker: `{train: 1}` means one worker on each machine that announces
            `{"train": 1}`, however many GPUs it has; let it announce as many as it should run.
    """

    min: Annotated[Count, Field(le=MAX_WORKERS)] = 1
    max: Annotated[Count, Field(le=MAX_WORKERS)] = 1
    cpus: Annotated[Positive, Field(le=4096)] = 1.0
    gpus: Annotated[NotNegative, Field(le=64)] = 0.0
    resources: dict[Text, Annotated[Positive, Field(le=1e6)]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return {"min": value, "max": value} if whole else value

    @model_validator(mode="after")
    def _ordered(self) -> "WorkersConfig":
        if self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}")
        return self

    @property
    def is_one(self) -> bool:
        """Whether one rank on processor cores, wherever they are, is all that is asked for."""
        return self.max == 1 and not self.gpus and not self.resources

    @property
    def wanted(self) -> str:
        """What a run needs before it starts, in words."""
        each = [f"{self.cpus:g} CPU", *([f"{self.gpus:g} GPU"] if self.gpus else [])]
        each += [f"{amount:g} {name}" for name, amount in self.resources.items()]
        return f"{self.min} worker{'s' if self.min > 1 else ''} with {', '.join(each)}{' each' if self.min > 1 else ''}"
