"""The trials of a sweep as plain data, and where each keeps its files. No Ray, no torch work.

Why here: the driver, the trials and the report must name a trial and its budget alike, also after a restart.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from latency.target import Target, read_target
from orchestrator.data.storage import Storage
from orchestrator.plan.check import check_run
from orchestrator.plan.config import ALL_TARGETS, RunConfig
from orchestrator.plan.result import TrialResult
from supernet.cost import CostTable
from supernet.errors import InputError

# Files of a sweep.
CONFIG_FILE, WARMUP_FILE, TABLES_FOLDER = "config.json", "warmup.pt", "tables"
STARTS_FOLDER, WARMUP_KEY = "starts", "warmup"

# Files of a trial, in the order in which they appear.
ARCHITECTURE_FILE, WEIGHTS_FILE, OUTCOME_FILE = "architecture.json", "weights.safetensors", "outcome.json"
SEARCH_FILE, MEASURED_FILE = "search.json", "measured.json"
ONNX_FILE, MEASUREMENT_FILE, RESULT_FILE = "model.onnx", "measurement.json", "result.json"
REGISTERED_FILE = "registered.json"


@dataclass(frozen=True)
class Trial:
    """One (target, budget or weight) of a sweep.

    Attributes:
        key: Stable name within the sweep.
        target: Name of the target.
        kind: What `value` is: `ms` (a budget), `fraction` (a budget in the space's range) or `weight`.
        value: The number that the user gave.
    """

    key: str
    target: str
    kind: str
    value: float

    def reference(self, costs: CostTable) -> float:
        """Return the budget of this trial in the cost table's unit, or the reference of a weighted objective.

        A weight needs a reference only to be scale-free: the middle of the space's range.
        """
        if self.kind == "ms":
            return self.value
        fraction = self.value if self.kind == "fraction" else 0.5
        return costs.minimum + fraction * (costs.maximum - costs.minimum)


def plan_trials(config: RunConfig) -> list[Trial]:
    """Return the trials of a sweep, targets in the user's order, smallest value first."""
    trials = []
    for target in config.load_targets():
        sweep = config.sweep
        budgets = (sweep.budgets_ms or {}).get(target.name) or (sweep.budgets_ms or {}).get(ALL_TARGETS)
        for kind, letter, values in (
            ("ms", "b", budgets),
            ("fraction", "f", sweep.budget_fractions),
            ("weight", "w", sweep.latency_weights),
        ):
            for value in sorted(values or []):
                trials.append(Trial(f"{target.name}-{letter}{value:g}", target.name, kind, value))
    keys = [trial.key for trial in trials]
    if len(set(keys)) != len(keys):
        raise InputError(f"sweep: a value stands twice: {', '.join(sorted(k for k in keys if keys.count(k) > 1))}")
    return trials


@dataclass(frozen=True)
class Job:
    """What a process somewhere in the cluster needs to work on a sweep: plain data, small.

    Attributes:
        config: The resolved configuration.
        data_root: Where the prepared images are, for all machines: a path or a URI.
    """

    config: Mapping[str, Any]
    data_root: str

    @property
    def run(self) -> RunConfig:
        """The configuration, validated."""
        return check_run(self.config, self.config["name"])

    @property
    def root(self) -> Storage:
        """Folder that all sweeps of this storage share."""
        return Storage(self.config["storage"])

    @property
    def store(self) -> Storage:
        """Folder of this sweep."""
        return self.root.child(self.config["name"])

    def trial_store(self, trial: Trial) -> Storage:
        """Folder of one trial."""
        return self.store.child("trials", trial.key)

    def target(self, name: str) -> Target:
        """Return one of the sweep's targets."""
        for definition in self.config["targets"]:
            if definition["name"] == name:
                return read_target(definition, name)
        raise InputError(f"sweep {self.config['name']!r} has no target {name!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, read back by `Job(**...)`."""
        return asdict(self)


def stored_results(job: Job) -> dict[str, TrialResult]:
    """Return the finished results of a sweep by trial key, with the model URI where registered."""
    found = {}
    for trial in plan_trials(job.run):
        store = job.trial_store(trial)
        if store.exists(RESULT_FILE):
            uri = store.read_json(REGISTERED_FILE)["model_uri"] if store.exists(REGISTERED_FILE) else ""
            found[trial.key] = replace(TrialResult.from_dict(store.read_json(RESULT_FILE)), model_uri=uri)
    return found
