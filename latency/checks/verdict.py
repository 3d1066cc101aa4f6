"""What a verification concludes: the table holds, falls short, or the machine is too noisy to tell.

The table is judged by its rows with the fit of the verifying run: what whole networks have moved by since is the
machine's doing, and told apart. Pure numbers; the goals stand here. It must not know how a network is measured.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from latency.checks.accuracy import Accuracy, accuracy, fit_line
from latency.measuring.job import JobResult, noise_reason
from latency.tables.calibrate import CalibrationNetwork, fit
from latency.tables.table import LatencyTable
from supernet.cost import macs_table
from supernet.space import Architecture, Space

MAX_REPEAT_MEDIAN = 0.015
"""Odd and even phases must agree to this, in the median over the networks, or nothing can be told."""
MAX_MOVE = 0.05
"""Reference kernels and calibration networks must be as fast as when the table was measured, within this."""


class Verdict(StrEnum):
    """What a verification found."""

    HOLDS = "holds"
    FALLS_SHORT = "falls short"
    TOO_NOISY = "too noisy"


@dataclass(frozen=True)
class Goals:
    """What is wanted of a table's predictions; shares and errors as fractions."""

    random_within_5: float
    random_within_10: float
    random_mape: float
    random_tau: float
    structured_within_5: float
    structured_within_10: float
    structured_tau: float


GOALS = Goals(0.95, 1.0, 0.02, 0.88, 0.88, 1.0, 0.98)
GOALS_INT8 = Goals(0.85, 1.0, 0.03, 0.82, 0.0, 0.0, 0.0)
"""At int8 the measurement itself repeats less well; of structured networks it is asked to beat MACs."""


@dataclass(frozen=True)
class Probe:
    """One network of the verification.

    Attributes:
        kind: `random` or `structured`.
        name: Of a structured one, else its number.
        architecture: Its id.
        predicted_ms: By the table as written.
        bar_ms: Half-width of the table's error bar.
        sum_ms: Plain sum of rows, not calibrated.
        num_params: Parameters.
        num_macs: Multiply-accumulates.
        measured_ms: What it took.
        error: Standard error of that, relative.
        repeat: Relative difference of what odd and even phases found.
        judged_ms: By the table's rows with the fit of the verifying run.
    """

    kind: str
    name: str
    architecture: str
    predicted_ms: float
    bar_ms: float
    sum_ms: float
    num_params: float
    num_macs: float
    measured_ms: float
    error: float
    repeat: float
    judged_ms: float = math.nan


@dataclass(frozen=True)
class Report:
    """What a verification found.

    Attributes:
        verdict: The answer.
        reasons: What falls short, or what was noisy.
        accuracies: By kind of network, then by predictor: `table`, the rows with the fit of this run;
            `table_as_written`, with the table's own; `sum`, without any; `macs`, a straight line through the MACs of
            the calibration networks of this run.
        drift: How much slower the calibration networks are in this run than in the table's own, as a factor: the
            median.
        repeat_median: Median of the differences between odd and even phases: no prediction can be much better.
        repeat_mean: Mean of them.
        in_bar: Share of the networks within the table's error bar.
        probes: All networks.
        seconds: Measuring time.
        clean_share: Undisturbed calls among all.
    """

    space: str
    target: str
    verdict: Verdict
    reasons: tuple[str, ...]
    accuracies: Mapping[str, Mapping[str, Accuracy]]
    drift: float
    repeat_median: float
    repeat_mean: float
    in_bar: float
    probes: tuple[Probe, ...]
    seconds: float
    clean_share: float


def judge(table: LatencyTable, probes: Sequence[Probe], result: JobResult) -> Report:
    """Compare predictions with measurements and state the verdict."""
    again = _measured_again(table, result)
    now, macs = fit(again), _macs_line(table.space, again)
    drift = statistics.median(
        n.measured_ms / then.measured_ms for n, then in zip(again, table.calibration.networks, strict=True)
    )
    probes = [replace(probe, judged_ms=now.predict(probe.sum_ms, probe.num_params)) for probe in probes]
    predictors: dict[str, Callable[[Probe], float]] = {
        "table": lambda probe: probe.judged_ms,
        "table_as_written": lambda probe: probe.predicted_ms,
        "sum": lambda probe: probe.sum_ms,
        "macs": lambda probe: macs(probe.num_macs),
    }
    kinds = list(dict.fromkeys(probe.kind for probe in probes))
    accuracies = {
        kind: {
            name: accuracy(
                [predictor(probe) for probe in probes if probe.kind == kind],
                [probe.measured_ms for probe in probes if probe.kind == kind],
                [probe.error for probe in probes if probe.kind == kind],
            )
            for name, predictor in predictors.items()
        }
        for kind in kinds
    }
    repeats = [probe.repeat for probe in probes]
    noisy = noise(table, result, repeats, drift)
    short = shortcomings(accuracies, GOALS_INT8 if table.target.precision == "int8" else GOALS)
    verdict = Verdict.TOO_NOISY if noisy else Verdict.FALLS_SHORT if short else Verdict.HOLDS
    return Report(
        space=table.space.name,
        target=table.target.name,
        verdict=verdict,
        reasons=(*noisy, *short),
        accuracies=accuracies,
        drift=drift,
        repeat_median=statistics.median(repeats),
        repeat_mean=statistics.fmean(repeats),
        in_bar=sum(abs(p.judged_ms - p.measured_ms) <= p.bar_ms for p in probes) / len(probes),
        probes=tuple(probes),
        seconds=result.measure_seconds,
        clean_share=result.clean_share,
    )


def noise(table: LatencyTable, result: JobResult, repeats: Sequence[float], drift: float) -> tuple[str, ...]:
    """Say what makes this run unfit to judge a table."""
    found = []
    reason = noise_reason(result, (), 0.0)
    if reason:
        found.append(reason)
    repeat = statistics.median(repeats)
    if not repeat <= MAX_REPEAT_MEDIAN:
        found.append(f"the same networks repeat to {repeat:.1%} in the median ({MAX_REPEAT_MEDIAN:.1%} needed)")
    for name, sentinel in result.sentinels.items():
        then = table.sentinels.get(name)
        move = sentinel.latency_ms / then - 1.0 if then else 0.0
        if abs(move) > MAX_MOVE:
            found.append(f"the reference kernel {name!r} moved by {move:+.1%} since the table was measured")
    if abs(drift - 1.0) > MAX_MOVE:
        found.append(f"the calibration networks moved by {drift - 1.0:+.1%} since the table was measured")
    return tuple(found)


def shortcomings(accuracies: Mapping[str, Mapping[str, Accuracy]], goals: Goals) -> tuple[str, ...]:
    """Return one text per goal that is missed."""
    checks: list[tuple[str, float, str, float, bool]] = []
    if "random" in accuracies:
        table = accuracies["random"]["table"]
        checks += [
            ("random networks within 5 %", table.within_5, ">=", goals.random_within_5, True),
            ("random networks within 10 %", table.within_10, ">=", goals.random_within_10, True),
            ("mean error on random networks", table.mape, "<=", goals.random_mape, False),
            ("Kendall tau on random networks", table.tau, ">=", goals.random_tau, True),
        ]
    if "structured" in accuracies:
        table, macs = accuracies["structured"]["table"], accuracies["structured"]["macs"]
        checks += [
            ("structured networks within 5 %", table.within_5, ">=", goals.structured_within_5, True),
            ("structured networks within 10 %", table.within_10, ">=", goals.structured_within_10, True),
            # One pair of 91 in the wrong order already misses the goal: it must be one that was measured to differ.
            ("Kendall tau on structured networks told apart", table.tau_told, ">=", goals.structured_tau, True),
            ("mean error on structured networks, against the MACs line", table.mape, "<=", macs.mape, False),
        ]
    return tuple(
        f"{name}: {value:.3f}, wanted {sign} {goal:.3f}"
        for name, value, sign, goal, more in checks
        if (value < goal if more else value > goal)
    )


def _macs_line(space: Space, networks: Sequence[CalibrationNetwork]) -> Callable[[float], float]:
    """Fit latency against MACs on the calibration networks: what is known without a table."""
    costs = macs_table(space)
    macs = [costs.total(space.path(Architecture.parse(network.architecture))) for network in networks]
    slope, intercept = fit_line(macs, [network.measured_ms for network in networks])
    return lambda num_macs: slope * num_macs + intercept


def anchor(architecture: str) -> str:
    """Return the key of a calibration network in a verification's job."""
    return f"anchor {architecture}"


def _measured_again(table: LatencyTable, result: JobResult) -> list[CalibrationNetwork]:
    """Return the table's calibration networks as this run found them."""
    found = []
    for network in table.calibration.networks:
        stats = result.stats[anchor(network.architecture)]
        found.append(replace(network, measured_ms=stats.latency_ms, error_ms=stats.error_ms))
    return found
