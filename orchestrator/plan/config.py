"""What a user writes: the sections of one sweep, strict and typed, each with its defaults.

Why here: the one list of every setting there is. It must not know how a file is read or what goes with what across
sections (`check`), nor how anything is run.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from latency.target import Target, load_target, read_target
from supernet.derive import DeriveSettings
from supernet.errors import InputError
from supernet.loop import SearchSettings
from supernet.presets import load_space
from supernet.space import Space
from supernet.specialise import TrainSettings


class Strict(BaseModel):
    """A section whose unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Strict):
    """Where the images are, and how they are split and augmented.

    Attributes:
        source: `digits`, `scattered-digits`, a folder of images or of Parquet files, `torchvision:NAME:ROOT`, or a
            folder of prepared shards.
        augment: Preset of training images, see `orchestrator.data.augment`.
    """

    source: str
    augment: str = "none"
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    num_loader_workers: Annotated[int, Field(ge=0)] = 0


ALL_TARGETS = "*"


def _for_all(budgets: Any) -> Any:
    return {ALL_TARGETS: budgets} if isinstance(budgets, list) else budgets


class SweepConfig(Strict):
    """What every target is searched for; exactly one of the three.

    Attributes:
        budgets_ms: Limits in milliseconds: a list for all targets, or a list per target name.
        budget_fractions: Limits as fractions of the space's range on each target: 0 is the smallest network,
            1 the largest.
        latency_weights: Weights of the latency term, for objectives without a limit.
    """

    budgets_ms: Annotated[dict[str, list[PositiveFloat]] | None, BeforeValidator(_for_all)] = None
    budget_fractions: list[Annotated[float, Field(gt=0, le=1)]] | None = None
    latency_weights: list[PositiveFloat] | None = None

    @model_validator(mode="after")
    def _one(self) -> "SweepConfig":
        given = [name for name in type(self).model_fields if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}; got {given or 'none'}")
        return self


class WorkersConfig(Strict):
    """Data-parallel workers of one Ray Train run.

    Attributes:
        min: Fewest workers to run with.
        max: Most workers; more than `min` lets the run grow and shrink with the cluster.
        cpus: CPUs per worker.
        gpus: GPUs per worker.
        resources: Custom resources per worker, such as `{train: 1}`.
    """

    min: PositiveInt = 1
    max: PositiveInt = 1
    cpus: PositiveFloat = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    resources: dict[str, float] = {}

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"min": value, "max": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _ordered(self) -> "WorkersConfig":
        if self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}")
        return self


class CheckpointConfig(Strict):
    """How often a search is saved.

    Attributes:
        every_steps: Steps between two checkpoints.
        every_seconds: A checkpoint also after so much time, for long steps on machines that may go away.
        max_failures: Worker failures a run survives before its trial fails.
    """

    every_steps: PositiveInt = 500
    every_seconds: PositiveFloat = 300.0
    max_failures: Annotated[int, Field(ge=0)] = 8


class MeasureConfig(Strict):
    """Measuring networks and tables.

    Attributes:
        table_seconds: Time for the measurements of one latency table.
        network_seconds: Time for the measurement of one finished network.
        wait_minutes: How long work waits for a target that no node of the cluster announces, before its trial fails.
    """

    table_seconds: PositiveFloat = 60.0
    network_seconds: PositiveFloat = 10.0
    wait_minutes: Annotated[float, Field(ge=0)] = 15.0


class MlflowConfig(Strict):
    """Where results are registered.

    Attributes:
        tracking_uri: None for an embedded SQLite file and artifact folder beside the sweeps.
        experiment: Name of the experiment.
    """

    tracking_uri: str | None = None
    experiment: str = "onepath"


class RunConfig(Strict):
    """One sweep.

    Attributes:
        name: Sweeps are continued by name.
        space: Preset name, YAML path, or `{base: ..., overrides}`.
        targets: Preset names, YAML paths, or whole targets.
        mode: `shared` searches every trial on frozen weights of one supernet; `independent` trains each
            trial's own weights on, from the shared warm-up.
        warmup: Weight steps on uniformly drawn paths, made once for all trials.
        search: Each trial's search. Its objective's `reference` is set per trial.
        train: Final training of each network.
        storage: Folder or object store for everything the sweep keeps.
        max_concurrent: Trials in progress at once.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    data: DataConfig
    space: str | dict[str, Any]
    targets: Annotated[list[str | dict[str, Any]], Field(min_length=1)]
    sweep: SweepConfig
    mode: Literal["shared", "independent"] = "shared"
    warmup: SearchSettings
    search: SearchSettings
    derive: DeriveSettings = DeriveSettings()
    train: TrainSettings
    workers: WorkersConfig = WorkersConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    measure: MeasureConfig = MeasureConfig()
    mlflow: MlflowConfig = MlflowConfig()
    storage: str = "onepath-runs"
    max_concurrent: PositiveInt = 1
    seed: Annotated[int, Field(ge=0)] = 0

    def load_space(self) -> Space:
        """Return the space, with the data's number of classes left to the caller."""
        return load_space(self.space)

    def load_targets(self) -> list[Target]:
        """Return the targets.

        Raises:
            InputError: If one is unknown or two have the same name.
        """
        loaded = []
        for index, reference in enumerate(self.targets):
            place = f"targets[{index}]"
            try:
                target = load_target(reference) if isinstance(reference, str) else read_target(reference, place)
            except InputError as error:
                raise InputError(f"{place}: {error} (`onepath latency targets` lists them)") from error
            loaded.append(target)
        names = [target.name for target in loaded]
        if len(set(names)) != len(names):
            raise InputError(f"targets: names must differ, got {', '.join(names)}")
        return loaded

    @property
    def search_settings(self) -> SearchSettings:
        """Settings of a trial's search under the sweep's mode."""
        return replace(self.search, train_weights=self.mode == "independent")
