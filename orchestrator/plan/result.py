"""What one trial of a sweep came to, as plain data that crosses processes and restarts as JSON.

Why here: trials make it, the registry stores it, the report draws it. It must know none of them, nor torch, ray
or mlflow.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from supernet.errors import InputError, nearest

STATUSES = ("done", "failed")
UNITS = ("ms", "1")


@dataclass(frozen=True)
class TrialResult:
    """One (target, budget or weight) search and the network it ended in.

    For a target that counts (`params`, `macs`) the unit is "1" and the fields in milliseconds hold the count.

    Attributes:
        sweep: Name of the sweep.
        trial: Stable key of the trial within the sweep, such as `ort-cpu-1t-b0.5`.
        target: Name of the target the latencies belong to.
        objective: Name of the objective, see `supernet.objective`.
        budget_ms: Latency the network must not exceed; None where a weight was searched instead.
        latency_weight: Weight of the latency term; None where a budget was searched instead.
        predicted_ms: Latency the table predicts for the architecture.
        latency_ms: Measured latency: the floor of many repetitions.
        latency_median_ms: Median of the same repetitions.
        latency_error_ms: Half-width (spread) of the measurement.
        top1: Accuracy on the test split, 0..1.
        validation_top1: Accuracy on the validation split, 0..1.
        num_params: Parameters of the standalone network.
        num_macs: Multiply-accumulates of one image.
        architecture: Short readable id of the architecture.
        seed: Seed of the trial.
        status: One of `STATUSES`; a failed trial may have None for every number.
        reason: Why the trial failed; empty when it is done.
        doubt: Where prediction, export and measurement of a network do not agree; empty when they do.
        model_uri: `models:/<name>/<version>`; empty until the network is registered.
        unit: One of `UNITS`: what the fields ending in `_ms` hold, milliseconds or, with "1", a count.
    """

    sweep: str
    trial: str
    target: str
    objective: str
    seed: int
    budget_ms: float | None = None
    latency_weight: float | None = None
    predicted_ms: float | None = None
    latency_ms: float | None = None
    latency_median_ms: float | None = None
    latency_error_ms: float | None = None
    top1: float | None = None
    validation_top1: float | None = None
    num_params: int | None = None
    num_macs: int | None = None
    architecture: str = ""
    status: str = "done"
    reason: str = ""
    doubt: str = ""
    model_uri: str = ""
    unit: str = "ms"

    def __post_init__(self) -> None:
        """Refuse a status or a unit that nothing downstream would understand."""
        for name, allowed in (("status", STATUSES), ("unit", UNITS)):
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"result of trial {self.trial!r}: {name} {value!r}{nearest(value, allowed)}")

    @property
    def done(self) -> bool:
        """Whether the trial ended in a network with numbers."""
        return self.status == "done"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values, in the order of the class."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrialResult":
        """Read back what `to_dict` wrote.

        Raises:
            InputError: If a field is unknown or a required one is missing.
        """
        known = {field.name: field for field in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError(f"trial result: unknown field {name!r}{nearest(name, known)}")
        missing = [name for name in ("sweep", "trial", "target", "objective", "seed") if name not in values]
        if missing:
            raise InputError(f"trial result: missing {', '.join(missing)}; it was written by another version?")
        return cls(**values)
