"""What a user writes: the sections of one sweep, strict and typed, each with its defaults.

Why here: with `requirements` and `workers` the one list of every setting there is. It must not know how a file is read
or what goes with what across sections (`check`), nor how anything is run.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from latency.graphs.quantise import Quantisation
from latency.target import Target, load_target, read_target
from orchestrator.data.augment import preset
from orchestrator.data.format import TEST_FRACTION, VALIDATION_FRACTION
from orchestrator.plan.addresses import EMBEDDED, files_address, registry_address, storage_address
from orchestrator.plan.requirements import Budget, Counted, GateConfig, LimitsConfig, Strict
from orchestrator.plan.workers import WorkersConfig
from supernet.derive import DeriveSettings
from supernet.errors import InputError
from supernet.objective import OBJECTIVES
from supernet.plain import STRICT, Count, CountOrNone, Flag, Name, NotNegative, Positive, Text
from supernet.presets import has_shortcuts
from supernet.search_settings import SearchSettings
from supernet.specialise import TrainSettings

SHARED = ("tables", "data", "artifacts", EMBEDDED)
"""What stands beside the sweeps in a storage: no sweep can be named so."""


def _of_its_own(name: str) -> str:
    if name.lower().startswith(SHARED[-1]) or name.lower() in SHARED:
        raise ValueError(f"the storage keeps {', '.join(SHARED)} beside its sweeps; use another name")
    return name


def _augment(name: str) -> str:
    preset(name)
    return name


class DataConfig(Strict):
    """Where the images are, and how they are split and augmented.

    Attributes:
        source: `digits`, `scattered-digits`, a folder of images or of Parquet or tar files, a CSV file,
            `torchvision:NAME:ROOT`, `hf:NAME[:CONFIG]`, or a folder of prepared shards; see docs/data.md.
        augment: Preset of how training images are varied, see docs/data.md: `none`, `light`, `flip-crop`, ...
        final_augment: The same for the final training; null for `augment`.
        validation_fraction: Share of each class that searches and derivations judge by, where the source brings no
            such split.
        test_fraction: Share of each class that nothing but the delivered files is judged on, likewise.
        num_loader_workers: Processes of each worker that prepare batches; 0 prepares them in the worker.
    """

    source: Annotated[Text, AfterValidator(files_address)]
    augment: Annotated[str, AfterValidator(_augment)] = "none"
    final_augment: Annotated[str, AfterValidator(_augment)] | None = None
    validation_fraction: Annotated[Positive, Field(lt=1)] = VALIDATION_FRACTION
    test_fraction: Annotated[Positive, Field(lt=1)] = TEST_FRACTION
    num_loader_workers: Annotated[CountOrNone, Field(le=256)] = 0

    @model_validator(mode="after")
    def _leaves_some(self) -> "DataConfig":
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave no image to train on; lower one")
        return self

    @model_validator(mode="after")
    def _seen_alike(self) -> "DataConfig":
        final = self.final_augment or self.augment
        if preset(self.augment).fixed != preset(final).fixed:
            whole, cropped = sorted((self.augment, final), key=lambda name: not preset(name).fixed)
            raise ValueError(
                f"augment {whole!r} squeezes whole images and {cropped!r} crops them: evaluation does one of both"
            )
        return self


ALL_TARGETS = "*"


def _for_all(budgets: Any) -> Any:
    return {ALL_TARGETS: budgets} if isinstance(budgets, list) else budgets


MAX_VALUES = 1000
Values = Field(min_length=1, max_length=MAX_VALUES)


class SweepConfig(Strict):
    """What every target is searched for: limits in its unit, or fractions, or weights, or as many as fill its front.

    Attributes:
        budgets_ms: Limits in milliseconds: a list for all targets that have a latency, or a list per target name.
        budget_counts: Limits of targets that count (`macs`, `params`), in the same two forms: `{macs: [40.0e6]}`.
        budget_fractions: Limits as fractions of the space's range on each target: 0 is the smallest network,
            1 the largest.
        latency_weights: Weights of the latency term, for objectives without a limit.
        points: Trials per target at most, each placed where the front has its widest gap: a budget, or a weight where
            the objective has no limit.
    """

    budgets_ms: Annotated[dict[str, Annotated[list[Budget], Values]] | None, BeforeValidator(_for_all)] = None
    budget_counts: Annotated[dict[str, Annotated[list[Counted], Values]] | None, BeforeValidator(_for_all)] = None
    budget_fractions: Annotated[list[Annotated[Positive, Field(ge=1e-6, le=1)]], Values] | None = None
    latency_weights: Annotated[list[Annotated[Positive, Field(ge=1e-6, le=1e6)]], Values] | None = None
    points: Annotated[Count, Field(ge=2, le=MAX_VALUES)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "SweepConfig":
        limits = bool(self.budgets_ms or self.budget_counts)
        if limits + bool(self.budget_fractions) + bool(self.latency_weights) + bool(self.points) != 1:
            given = [name for name in type(self).model_fields if getattr(self, name)]
            raise ValueError(
                "give exactly one of budgets_ms (beside it budget_counts for targets that count), budget_fractions, "
                f"latency_weights, points; got {given or 'none'}"
            )
        return self


YEAR_SECONDS = 366 * 24 * 3600.0


class CheckpointConfig(Strict):
    """How often a search is saved.

    Attributes:
        every_steps: Steps between two checkpoints.
        every_seconds: A checkpoint also after so much time, for long steps on machines that may go away.
        max_failures: Worker failures a run survives before its trial fails.
    """

    every_steps: Count = 500
    every_seconds: Annotated[Positive, Field(le=YEAR_SECONDS)] = 300.0
    max_failures: Annotated[CountOrNone, Field(le=1000)] = 8


class MeasureConfig(Strict):
    """Measuring networks and tables.

    Attributes:
        table_seconds: Time for the measurements of one latency table.
        network_seconds: Time for the measurement of one network; beside networks of its table, twice as much.
        wait_minutes: How long work waits for a target that no node of the cluster announces, before its trial fails;
            a trial that has not begun waits so long after all others.
        cross_table: Whether every network of the fronts is measured on every target at hand when all trials are
            done, where there are several, or baselines: `network_seconds` each.
    """

    table_seconds: Annotated[Positive, Field(le=YEAR_SECONDS)] = 60.0
    network_seconds: Annotated[Positive, Field(le=YEAR_SECONDS)] = 10.0
    wait_minutes: Annotated[NotNegative, Field(le=YEAR_SECONDS / 60)] = 15.0
    cross_table: Flag = True


class DeliverConfig(Strict):
    """The file that is delivered for each target.

    Attributes:
        int8: How a network becomes int8 for targets of that precision.
    """

    int8: Quantisation = Quantisation()


@dataclass(frozen=True, config=ConfigDict(**STRICT, validate_by_name=True, serialize_by_alias=True))
class WarmupConfig(SearchSettings):
    """The shared warm-up: `SearchSettings`, and where its weights come from.

    Attributes:
        num_steps: 0 takes the earlier sweep's supernet as it is.
        origin: Written `from`: an earlier sweep of the same space, by its name in the storage or its folder, whose
            warmed-up supernet is trained on; the number of classes may differ. None begins with fresh weights.
    """

    num_steps: CountOrNone
    arch_every: CountOrNone = 0
    origin: Annotated[Annotated[Text, AfterValidator(files_address)] | None, Field(alias="from")] = None

    @model_validator(mode="after")
    def _trains_or_takes(self) -> "WarmupConfig":
        if not self.num_steps and self.origin is None:
            raise ValueError("num_steps 0 takes an earlier sweep's supernet as it is; say which with 'from'")
        return self


class MlflowConfig(Strict):
    """Where results are registered.

    Attributes:
        tracking_uri: None for an embedded SQLite file and artifact folder beside the sweeps.
        experiment: Name of the experiment.
    """

    tracking_uri: Annotated[Text, AfterValidator(registry_address)] | None = None
    experiment: Annotated[Text, Field(max_length=200)] = "onepath"


class RunConfig(Strict):
    """One sweep.

    Attributes:
        name: Sweeps are continued by name.
        data: Where the images are, and how they are split and varied.
        space: Preset name, YAML path, or `{base: ..., overrides}`.
        targets: Preset names, YAML paths, or whole targets.
        sweep: What every target is searched for; exactly one of these.
        mode: `shared` searches every trial on frozen weights of one supernet; `independent` trains each
            trial's own weights on, from the shared warm-up.
        limits: What every network must keep besides its budget; any of these.
        warmup: Weight steps on uniformly drawn paths, made once for all trials.
        search: Each trial's search. Beside these it takes what `warmup` takes (but `from`); of that, `learning_rate`,
            `schedule`, `momentum`, `weight_decay`, `label_smoothing`, `sharing` and `arch_every` are refused with
            `mode: shared`, where weights are frozen. `objective.weight` and, with a budget, `objective.reference`
            are set per trial.
        derive: How a network is picked at the end of a search.
        train: Final training of each network; the defaults are the paper's recipe, steps aside.
        workers: Data-parallel workers of one Ray Train run; a number alone is `min` and `max`.
        checkpoint: How often a search or training is saved, and what failures it survives.
        measure: Time for measurements, and how long a device is waited for.
        deliver: The file of each network that is judged, measured and registered.
        gate: How far what is known of a network may disagree before it is rejected; shares, so 0.1 is 10 %.
        mlflow: Where results are registered.
        storage: Folder or object store for everything the sweep keeps.
        max_concurrent: Trials in progress at once, at most: fewer while the cluster has no room for their workers.
        baselines: Known networks (`onepath arch list`), their YAML files, or what stands in such a file with a `name`,
            scaled in width to the latencies of the fronts and trained as their networks are, but from fresh weights.
        seed: Of all random draws.
    """

    name: Annotated[Name, AfterValidator(_of_its_own)]
    data: DataConfig
    space: Text | dict[str, Any]
    targets: Annotated[list[Text | dict[str, Any]], Field(min_length=1, max_length=100)]
    sweep: SweepConfig
    mode: Literal["shared", "independent"] = "shared"
    limits: LimitsConfig = LimitsConfig()
    warmup: WarmupConfig
    search: SearchSettings
    derive: DeriveSettings = DeriveSettings()
    train: TrainSettings
    workers: WorkersConfig = WorkersConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    measure: MeasureConfig = MeasureConfig()
    deliver: DeliverConfig = DeliverConfig()
    gate: GateConfig = GateConfig()
    mlflow: MlflowConfig = MlflowConfig()
    storage: Annotated[Text, AfterValidator(storage_address)] = "onepath-runs"
    max_concurrent: Annotated[Count, Field(le=MAX_VALUES)] = 1
    baselines: Annotated[list[Text | dict[str, Any]], Field(max_length=20)] = Field(default_factory=list)
    seed: Annotated[CountOrNone, Field(lt=2**31)] = 0

    def load_targets(self, place: str = "") -> list[Target]:
        """Return the targets.

        Args:
            place: Where the configuration stands, for messages.

        Raises:
            InputError: If one is unknown or two have the same name.
        """
        loaded, where = [], f"{place}.targets".lstrip(".")
        for index, reference in enumerate(self.targets):
            if not isinstance(reference, str):
                loaded.append(read_target(reference, f"{where}[{index}]"))
                continue
            try:
                loaded.append(load_target(reference))
            except InputError as error:
                raise InputError(f"{where}[{index}]: {error} (`onepath latency targets` lists them)") from error
        names = [target.name for target in loaded]
        if len(set(names)) != len(names):
            raise InputError(f"{where}: names must differ, got {', '.join(names)}")
        return loaded

    @property
    def search_settings(self) -> SearchSettings:
        """Settings of a trial's search under the sweep's mode."""
        return replace(self.search, train_weights=self.mode == "independent")

    @property
    def own_batches(self) -> int:
        """Training batches for the batch-norm statistics of each judged path; 0 if all have those that they share."""
        began_at_zero = self.warmup.sharing.zero_init_residual and has_shortcuts(self.space)
        return self.derive.own_batches(shares=self.mode == "shared" and began_at_zero)

    @property
    def weighted(self) -> bool:
        """Whether trials weigh latency against loss, and none has a limit."""
        return not OBJECTIVES[self.search.objective.kind].limited

    @property
    def fills_pool(self) -> bool:
        """Whether paths are judged once for all trials: to derive from within limits, or to place points by."""
        wanted = bool(self.sweep.points) or not self.weighted
        return self.mode == "shared" and self.derive.uses_pool and wanted
