"""The trials of a sweep as plain data, and where each keeps its files. No Ray, no torch work.

Why here: the driver, the trials and the report must name a trial and its budget alike, also after a restart.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from latency.target import Target
from orchestrator.data.storage import Storage
from orchestrator.plan.config import ALL_TARGETS, RunConfig
from orchestrator.plan.limits import limits_of
from orchestrator.plan.result import TrialResult
from supernet.cost import CostTable
from supernet.errors import InputError, nearest
from supernet.limits import Limits
from supernet.plain import check_name, read
from supernet.presets import load_space
from supernet.space import Space

# Files of a sweep.
CONFIG_FILE, WARMUP_FILE, POOL_FILE, TABLES_FOLDER = "config.json", "warmup.pt", "pool.parquet", "tables"
POINTS_FILE, IMAGES_FILE = "points.json", "images.json"
STARTS_FOLDER, TRAIN_FOLDER, WARMUP_KEY = "starts", "train", "warmup"

# Files of a trial, in the order in which they appear.
ARCHITECTURE_FILE, WEIGHTS_FILE, OUTCOME_FILE = "architecture.json", "weights.safetensors", "outcome.json"
SEARCH_FILE, MEASURED_FILE, FINDINGS_FILE = "search.json", "measured.json", "findings.json"
CORRECTIONS_FILE = "corrections.json"
PROGRAM_FILE, ONNX_FILE, PREPROCESSING_FILE = "model.pt2", "model.onnx", "preprocessing.json"
EVALUATION_FILE, MEASUREMENT_FILE, RESULT_FILE = "evaluation.json", "measurement.json", "result.json"
REGISTERED_FILE = "registered.json"

# Files that are made for the registry alone, of what the above hold.
CONFUSION_FILE, PICTURE_FILE = "confusion.json", "architecture.png"

COUNTING = "limits of targets that count (macs, params) stand under budget_counts"
TIMED = "limits of targets that have a latency stand under budgets_ms"

LONG_VALUE = 1.234e-5
"""A placed value whose name is as long as any."""


@dataclass(frozen=True)
class Trial:
    """One (target, budget or weight) of a sweep.

    Attributes:
        key: Stable name within the sweep.
        target: Name of the target.
        kind: What `value` is: `ms` or `count` (a budget), `fraction` (a budget in the space's range), `weight`, or
            `baseline` (a factor on the width of a known network).
        value: The number that the user gave, or that was placed.
        path: Of a baseline: the path that is trained, without a search.
        baseline: Name of the known network; empty for a search.
    """

    key: str
    target: str
    kind: str
    value: float
    path: tuple[int, ...] = ()
    baseline: str = ""

    def budget(self, costs: CostTable | None) -> float | None:
        """Return what its network must not exceed, in the target's unit; None where there is no such limit.

        Args:
            costs: By the table of the target; None where it is not at hand, and a fraction of its range is not known.
        """
        if self.kind in ("ms", "count"):
            return self.value
        return _within(costs, self.value) if costs and self.kind == "fraction" else None

    def reference(self, costs: CostTable, given: float = 0.0) -> float:
        """Return the budget of this trial in the cost table's unit, or the reference of a weighted objective.

        Args:
            costs: By the table of the target.
            given: The reference that the objective has in the configuration. A weight needs one only to be scale-free:
                where it is 0, the middle of the space's range.
        """
        if self.kind == "weight" and given:
            return given
        budget = self.budget(costs)
        return _within(costs, 0.5) if budget is None else budget


def _within(costs: CostTable, fraction: float) -> float:
    return costs.minimum + fraction * (costs.maximum - costs.minimum)


def trial_key(target: str, kind: str, value: float, place: str) -> str:
    """Return the one name of a trial, such as `ort-cpu-1t-b2.5` or `macs-40M`: a folder, a run and a tag.

    Raises:
        InputError: If it would be too long, naming `place`.
    """
    letter = {"ms": "b", "count": "", "fraction": "f", "weight": "w"}[kind]
    number, unit = Decimal(repr(value)), ""
    if kind == "count":
        size, unit = next(((s, u) for s, u in ((10**9, "G"), (10**6, "M"), (10**3, "k")) if value >= s), (1, ""))
        number /= size
    return check_name(f"{target}-{letter}{number.normalize():f}{unit}", place)


def short_name(reference: str) -> str:
    """Return what to call a known network that is named by a preset or by the path of its YAML file."""
    return reference.rsplit("/", 1)[-1].removesuffix(".yaml")


def limit_kind(target: Target) -> str:
    """Return the kind of trials with a limit in the target's own unit."""
    return "ms" if target.unit == "ms" else "count"


def plan_trials(config: RunConfig, place: str = "") -> list[Trial]:
    """Return the trials that a sweep's configuration lists, targets in the user's order, smallest value first.

    Points are placed as the sweep goes (`stored.known_trials` has them): here they are none.

    Args:
        config: The sweep.
        place: Where it stands, for messages.

    Raises:
        InputError: If a target has no limit or a limit no target, or a value stands twice.
    """
    sweep, targets, where = config.sweep, config.load_targets(), f"{place}.sweep".lstrip(".")
    latencies = [target.name for target in targets if target.unit == "ms"]
    counts = [target.name for target in targets if target.unit != "ms"]
    limits: dict[str, list[float]] = {}
    if sweep.budgets_ms or sweep.budget_counts:
        limits = _limits(sweep.budgets_ms, latencies, counts, f"{where}.budgets_ms", COUNTING)
        limits |= _limits(sweep.budget_counts, counts, latencies, f"{where}.budget_counts", TIMED)
    trials = []
    for target in targets:
        for kind, values in (
            (limit_kind(target), limits.get(target.name)),
            ("fraction", sweep.budget_fractions),
            ("weight", sweep.latency_weights),
        ):
            keyed = [(trial_key(target.name, kind, value, where), value) for value in sorted(values or [])]
            trials += [Trial(key, target.name, kind, value) for key, value in keyed]
        if sweep.points:
            trial_key(target.name, limit_kind(target), LONG_VALUE, where)
    keys = [trial.key for trial in trials]
    if len(set(keys)) != len(keys):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise InputError(f"{where}: a value stands twice: {', '.join(twice)}")
    return trials


def _limits(
    given: Mapping[str, list[float]] | None, names: list[str], others: list[str], place: str, hint: str
) -> dict[str, list[float]]:
    """Return the limits of each of `names`; `others` are the targets whose limits stand under another key."""
    given = given or {}
    for name in given.keys() & set(others):
        raise InputError(f"{place}: {name!r} does not belong here; {hint}")
    for name in given.keys() - {*names, ALL_TARGETS}:
        raise InputError(f"{place}: unknown target {name!r}{nearest(name, names)}")
    if ALL_TARGETS in given and not names:
        raise InputError(f"{place}: no target has such limits; {hint}")
    limits = {name: given.get(name) or given.get(ALL_TARGETS) or [] for name in names}
    missing = [name for name, values in limits.items() if not values]
    if missing:
        raise InputError(f"{place}: no budget for {', '.join(missing)}")
    return limits


@dataclass(frozen=True)
class Job:
    """What a process somewhere in the cluster needs to work on a sweep: plain data, small, read once when it is made.

    Attributes:
        config: The resolved configuration.
        data_root: Where the prepared images are, for all machines: a path or a URI.
        outer: Configuration of the sweep that this one's networks stand beside, if there is one: it has the tables.

    Raises:
        InputError: If the configuration does not read.
    """

    config: Mapping[str, Any]
    data_root: str
    outer: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Read the configuration before anything is done with it."""
        _ = self.run, self.targets

    @cached_property
    def run(self) -> RunConfig:
        """The configuration, typed."""
        config: RunConfig = read(RunConfig, self.config, str(self.config.get("name", CONFIG_FILE)))
        return config

    @cached_property
    def targets(self) -> dict[str, Target]:
        """The sweep's targets by name."""
        return {target.name: target for target in self.run.load_targets()}

    @property
    def measured(self) -> list[str]:
        """Names of the sweep's targets that have a latency to measure."""
        return [name for name, target in self.targets.items() if target.measured]

    @property
    def quantised(self) -> list[str]:
        """Names of the sweep's targets that run int8 networks."""
        return [name for name, target in self.targets.items() if target.precision == "int8"]

    @cached_property
    def space(self) -> Space:
        """The sweep's space with the data's classes."""
        return load_space(self.run.space)

    @property
    def root(self) -> Storage:
        """Folder that all sweeps of this storage share."""
        return Storage(self.config["storage"])

    @property
    def store(self) -> Storage:
        """Folder of this sweep."""
        return self.root.child(self.config["name"])

    @property
    def sweep(self) -> str:
        """Name that results go by: of the sweep that this one's networks stand beside, if there is one."""
        return str((self.outer or self.config)["name"])

    @property
    def with_tables(self) -> "Job":
        """The sweep whose latency tables know this one's targets."""
        return Job(self.outer, self.data_root) if self.outer else self

    def trial_store(self, trial: Trial) -> Storage:
        """Folder of one trial."""
        return self.store.child("trials", trial.key)

    def target(self, name: str) -> Target:
        """Return one of the sweep's targets."""
        if name not in self.targets:
            raise InputError(f"sweep {self.run.name!r} has no target {name!r}{nearest(name, self.targets)}")
        return self.targets[name]

    def limits(self, target: str) -> Limits:
        """Return what the networks for a target must keep besides their budget."""
        return limits_of(self.run, self.space, self.target(target))

    def result(self, trial: Trial, **values: object) -> TrialResult:
        """Return a result of one trial: what the sweep knows of it, and `values`.

        Raises:
            InputError: If a value is not what its field takes, such as an accuracy that is not a number.
        """
        known = {
            "sweep": self.sweep,
            "trial": trial.key,
            "target": trial.target,
            "objective": self.run.search.objective.kind,
            "seed": self.run.seed,
            "unit": self.target(trial.target).unit,
            "baseline": trial.baseline,
            "budget": trial.budget(None),
            "latency_weight": trial.value if trial.kind == "weight" else None,
        }
        result: TrialResult = read(TrialResult, known | values, f"result of trial {trial.key}")
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, read back by `Job(**...)`."""
        return asdict(self)


def checkpoints_in(store: Storage) -> list[str]:
    """Return the names of the checkpoints in a job's folder, whole or not, in the order of their steps.

    They begin with the phase, of which the search comes first; Ray Train has files of its own beside them.
    """
    return [name for name in store.names() if name.startswith(("search-", "train-"))]


def warmup_saved(store: Storage) -> bool:
    """Return whether the warm-up of the sweep in a folder has a checkpoint to go on from."""
    return bool(checkpoints_in(store.child(TRAIN_FOLDER, WARMUP_KEY)))


def sweeps_in(root: Storage) -> list[str]:
    """Return the names of the sweeps that a storage holds."""
    return [name for name in root.names() if root.child(name).exists(CONFIG_FILE)]
