"""What one trial of a sweep came to, as plain data that crosses processes and restarts as JSON.

Why here: trials make it, the registry stores it, the report draws it. It must know none of them, nor torch, ray
or mlflow. Its fields are the one table that JSON, MLflow and the reports are made from: a new one is added here alone.
"""

from collections.abc import Collection
from dataclasses import Field, field, fields
from math import sqrt
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic.dataclasses import dataclass

from supernet.plain import STRICT, Name, to_plain

Z95 = 1.959963984540054
"""Quantile of the normal distribution that leaves 5 % outside both ends."""


def _shown(
    default: Any = None,
    *,
    mlflow: Literal["", "metric", "param"] = "",
    in_ms: str = "",
    column: str = "",
    reads: Literal["text", "number", "cost", "count", "bytes", "accuracy"] = "text",
    wide: bool = False,
    sparse: bool = False,
) -> Any:
    """Return a field with what is made of it outside.

    Args:
        default: Its value where none is given.
        mlflow: What it is in MLflow besides a tag of the version.
        in_ms: Its name in MLflow where the unit is milliseconds; its own name otherwise.
        column: Its heading in the reports; it has no column without.
        reads: How a report writes it.
        wide: Whether its column is too much for a terminal.
        sparse: Whether it has a column only where some trial has a value.
    """
    looks = {"mlflow": mlflow, "in_ms": in_ms, "column": column, "reads": reads, "wide": wide, "sparse": sparse}
    return field(default=default, metadata=looks)


def _given(**looks: Any) -> Any:
    return field(metadata=_shown(**looks).metadata)


Share = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Ge(0)]


@dataclass(frozen=True, config=STRICT)
class TrialResult:
    """One (target, budget or weight) search and the network it ended in.

    Costs are what the target measures or counts, in `unit`.

    Attributes:
        sweep: Name of the sweep.
        trial: Stable key of the trial within the sweep, such as `ort-cpu-1t-b0.5`.
        target: Name of the target the costs belong to.
        objective: Name of the objective, see `supernet.objective`.
        seed: Seed of the trial.
        budget: Cost the network must not exceed; None where a weight was searched instead.
        latency_weight: Weight of the latency term; None where a budget was searched instead.
        predicted_cost: Cost that the table predicts for the architecture.
        cost: Measured latency (the floor of many repetitions), or what was counted. Where networks of the table were
            timed in the same rounds, as on a machine that is as fast as when that was measured; so are the next two.
        cost_median: Median of the same repetitions.
        cost_error: Standard error of `cost`, from the spread over fresh processes and over those networks.
        top1: Accuracy of the delivered file on the test split, by the target's own runtime, 0..1. It chooses nothing.
        top5: As `top1`, of the five highest outputs; None with five classes or fewer, where it would always be 1.
        num_test_images: Images of the test split.
        validation_top1: As `top1`, on the validation split: what networks are chosen by.
        num_validation_images: Images of the validation split.
        shared_loss: Loss of the network's path on shared weights, on validation images, before it was trained alone:
            what trust in the supernet is judged by (`orchestrator.report.trust`).
        random_loss: Least such loss of random paths close under the budget, as many as were judged to find the network,
            as far as there are.
        num_random: How many these are.
        trained_top1: As `top1`, of the trained network in fp32, that the file is made of and held against.
        torch_top1: As `top1`, of the torch export that is registered beside the delivered file, or is it.
        num_params: Parameters of the standalone network.
        num_macs: Multiply-accumulates of one image.
        peak_memory_mib: Memory of inference beside the weights, one image in fp32, counted; see `supernet.peak`.
        architecture: Short readable id of the architecture.
        file: Name of the delivered file: the one that is judged, measured and registered.
        file_sha256: Its checksum.
        file_bytes: Its size.
        data: Fingerprint of the data set.
        num_corrections: How often the table was corrected and a network derived again, because the one before was
            measured over the budget.
        status: What the trial came to: `done`, a network that passed the gate; `rejected`, one that did not
            (`orchestrator.trial.gate`); `failed`, none, and None for every number that is not known.
        reason: Why the network was rejected or the trial failed; empty when it is done.
        doubt: What speaks against the figures without disproving them, and what shows that the search has learnt
            nothing; empty otherwise.
        model_uri: `models:/<name>/<version>`; empty until the network is registered.
        unit: What costs are in: milliseconds, or "1" for a count.
        baseline: Name of the known network that this is, at a width; empty for one that was searched.
    """

    sweep: Name
    trial: Name = _given(column="trial", wide=True)
    target: Name = _given(mlflow="param", column="target")
    objective: Name = _given(mlflow="param")
    seed: int = _given(mlflow="param")
    budget: float | None = _shown(mlflow="param", in_ms="budget_ms", column="budget", reads="cost", sparse=True)
    latency_weight: float | None = _shown(mlflow="param", column="weight", reads="number", sparse=True)
    predicted_cost: float | None = _shown(
        mlflow="metric", in_ms="predicted_ms", column="predicted", reads="cost", wide=True
    )
    cost: float | None = _shown(mlflow="metric", in_ms="latency_ms", column="measured", reads="cost")
    cost_median: float | None = _shown(mlflow="metric", in_ms="latency_median_ms")
    cost_error: float | None = _shown(mlflow="metric", in_ms="latency_error_ms")
    top1: Share | None = _shown(mlflow="metric", column="top-1", reads="accuracy")
    top5: Share | None = _shown(mlflow="metric", column="top-5", reads="accuracy", wide=True)
    num_test_images: Count | None = _shown(mlflow="metric", column="test images", reads="count", wide=True)
    validation_top1: Share | None = _shown(mlflow="metric", column="validation", reads="accuracy", wide=True)
    num_validation_images: Count | None = _shown(mlflow="metric")
    shared_loss: float | None = _shown(mlflow="metric")
    random_loss: float | None = _shown(mlflow="metric")
    num_random: Count | None = _shown()
    trained_top1: Share | None = _shown(mlflow="metric")
    torch_top1: Share | None = _shown(mlflow="metric")
    num_params: Count | None = _shown(mlflow="metric", column="parameters", reads="count", wide=True)
    num_macs: Count | None = _shown(mlflow="metric", column="MACs", reads="count")
    peak_memory_mib: float | None = _shown(mlflow="metric")
    architecture: str = _shown("", mlflow="param", column="architecture", wide=True)
    file: str = _shown("", mlflow="param")
    file_sha256: str = _shown("")
    file_bytes: Count | None = _shown(mlflow="metric", column="size", reads="bytes", wide=True)
    data: str = _shown("", mlflow="param")
    num_corrections: Count | None = _shown()
    status: Literal["done", "rejected", "failed"] = _shown("done")
    reason: str = _shown("")
    doubt: str = _shown("")
    model_uri: str = _shown("", column="model", wide=True)
    unit: Literal["ms", "1"] = _shown("ms")
    baseline: str = _shown("")

    @property
    def done(self) -> bool:
        """Whether the trial ended in a network that passed the gate: what a front, an alias and `pull` may take."""
        return self.status == "done"

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do: the trial ended in a network with numbers, even a rejected one."""
        return self.status != "failed"

    @property
    def measured(self) -> bool:
        """Whether the cost was measured: else it is what the table says, counted or published, to the last digit."""
        return self.unit == "ms" and (self.cost != self.predicted_cost or self.cost_error != 0)

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % intervals of the accuracies whose number of images is known, by the name of the accuracy."""
        pairs = {
            "top1": (self.top1, self.num_test_images),
            "top5": (self.top5, self.num_test_images),
            "validation_top1": (self.validation_top1, self.num_validation_images),
        }
        return {name: wilson(share, number) for name, (share, number) in pairs.items() if share is not None and number}


def wilson(share: float, number: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of successes among `number` trials.

    Source: Wilson 1927; unlike the normal approximation it holds for few trials and for shares near 0 and 1.
    """
    spread = Z95 * sqrt(share * (1 - share) / number + Z95**2 / (4 * number**2))
    scale = 1 + Z95**2 / number
    middle = share + Z95**2 / (2 * number)
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def told(result: TrialResult) -> dict[str, Any]:
    """Return what a script may read: every field, and `top1_interval` and the like where known."""
    plain: dict[str, Any] = to_plain(result)
    return plain | {f"{name}_interval": list(ends) for name, ends in result.intervals.items()}


def outward_name(column: Field[Any], unit: str) -> str:
    """Return a field's name in MLflow: with the unit where costs are milliseconds, so `latency_ms` for `cost`."""
    in_ms: str = column.metadata.get("in_ms", "")
    return in_ms if in_ms and unit == "ms" else column.name


def columns(results: Collection[TrialResult], *, wide: bool) -> list[Field[Any]]:
    """Return the fields that have a column in a report of these results, in the order of the class.

    Args:
        results: What trials are asked for differs from sweep to sweep: what none of them has is left out.
        wide: Whether there is room for all; a terminal has none for the wide.
    """
    shown = [f for f in fields(TrialResult) if f.metadata.get("column") and (wide or not f.metadata["wide"])]
    asked = {f.name for f in shown if any(getattr(result, f.name) is not None for result in results)}
    return [f for f in shown if f.name in asked or not f.metadata["sparse"]]
