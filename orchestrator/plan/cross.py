"""The cross table: every network of the fronts on every target, measured in the same rounds, as plain data.

Why here: it tells whether searching for a target paid (the paper's table 6: a network is fastest where it was searched
for), and holds known networks against them. It must not know how anything is measured or shown.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot, sqrt

from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import Job
from orchestrator.report.rows import front_rows
from supernet.errors import InputError
from supernet.plain import read_sealed, to_sealed

FOLDER, CROSS_KEY = "cross", "cross table"
ERRORS = 2.0
"""Standard errors within which two figures are equal."""


@dataclass(frozen=True)
class Figure:
    """A network's latency on one target, in milliseconds, as `latency.measuring.measure.Measurement` has it."""

    latency_ms: float
    error_ms: float | None
    median_ms: float


@dataclass(frozen=True)
class Column:
    """All networks on one target, measured in the same interleaved rounds: their ratios hold on a noisy machine.

    The figures are as on the machine that the target's own networks were measured on for their results.

    Attributes:
        target: Name of the target.
        architectures: What was measured, by trial.
        figures: By trial.
        noise: Why the machine was too disturbed for the figures to be believed, or empty.
        top1s: Of the int8 files of networks whose own target runs none, on the test split, by trial.
    """

    target: str
    architectures: dict[str, str]
    figures: dict[str, Figure]
    noise: str
    top1s: dict[str, float] = field(default_factory=dict)


def store_column(job: Job, column: Column) -> None:
    """Keep a column in the sweep's folder."""
    job.store.child(FOLDER).write(f"{column.target}.json", to_sealed(column).encode())


def stored_columns(job: Job) -> dict[str, Column]:
    """Return the columns that a sweep's folder keeps, by target; a damaged one is none, and is measured again."""
    found, folder = {}, job.store.child(FOLDER)
    for target in job.measured:
        name = f"{target}.json"
        with contextlib.suppress(InputError, OSError):
            column: Column = read_sealed(Column, folder.read(name), f"{folder.uri}/{name}")
            found[target] = column
    return found


def is_of(column: Column | None, results: Sequence[TrialResult]) -> bool:
    """Whether a column is of the networks of these results, and can be believed."""
    wanted = {result.trial: result.architecture for result in results}
    return column is not None and not column.noise and column.architectures == wanted


def crossed(results: Sequence[TrialResult]) -> list[TrialResult]:
    """Return the networks of a cross table: those on the front of their target, and the baselines beside them."""
    return [row.result for row in front_rows(results) if row.on_front or (row.result.baseline and row.result.done)]


def missing_columns(job: Job, results: Sequence[TrialResult]) -> list[str]:
    """Return the targets whose column of the cross table is not measured yet; none where a sweep has none.

    A noisy one is shown, and is to be measured again.

    Args:
        job: The sweep.
        results: Of its trials and baselines.
    """
    networks = crossed(results)
    wanted = columns_of(job, len(networks), baselines=any(network.baseline for network in networks))
    columns = stored_columns(job) if wanted else {}
    return [target for target in wanted if not is_of(columns.get(target), networks)]


def columns_of(job: Job, num_networks: int, *, baselines: bool) -> list[str]:
    """Return the targets that a cross table of so many networks, baselines among them or not, has a column of.

    None where a sweep has no such table, or there is nothing to compare.
    """
    fewest = 1 if baselines else 2
    wanted = job.run.measure.cross_table and len(job.measured) >= fewest and num_networks >= 2
    return job.measured if wanted else []


def row_of(columns: Mapping[str, Column], result: TrialResult) -> dict[str, Figure]:
    """Return what one network takes on each target that it was measured on."""
    found = {target: figure_in(column, result) for target, column in columns.items()}
    return {target: figure for target, figure in found.items() if figure}


def figure_in(column: Column, result: TrialResult) -> Figure | None:
    """Return what a network takes by a column, if it was measured for it."""
    return column.figures[result.trial] if column.architectures.get(result.trial) == result.architecture else None


@dataclass(frozen=True)
class Home:
    """Whether a target's own networks are the fastest on it at their accuracy.

    Attributes:
        target: Name of the target.
        num_own: Networks that were searched for it.
        num_others: Networks that were searched for other targets, and whose accuracy on this one is known.
        num_unjudged: Networks of other targets whose accuracy on this one is not known.
        beaten: By trial of the target, the fastest of the others that are at least as accurate, where it is faster than
            every own network that is; accuracies and latencies within two standard errors are equal.
    """

    target: str
    num_own: int
    num_others: int
    num_unjudged: int
    beaten: dict[str, str]

    @property
    def sentence(self) -> str:
        """The same in words."""
        return f"{self.target}: {self._verdict}{self._left_out}"

    @property
    def _verdict(self) -> str:
        others = f"{self.num_others} network{'s' * (self.num_others != 1)} of other targets"
        if not self.num_own or not self.num_others:
            return f"has no network of {'its own' if not self.num_own else 'another target'} to compare"
        if not self.beaten:
            return f"at home its own are the fastest at their accuracy ({self.num_own} against {others})"
        pairs = ", ".join(f"{other} beats {own}" for own, other in self.beaten.items())
        return f"{self.num_own - len(self.beaten)} of {self.num_own} are the fastest at home ({pairs})"

    @property
    def _left_out(self) -> str:
        one = self.num_unjudged == 1
        said = f"{self.num_unjudged} network{'s' * (not one)} of other targets {'is' if one else 'are'} left out"
        return f"; {said}: their accuracy on it is not known" if self.num_unjudged else ""


def at_home(column: Column, results: Sequence[TrialResult], quantised: Collection[str]) -> Home:
    """Return whether the own networks of a column's target are the fastest on it at their accuracy, see `top1_on`.

    Args:
        column: Of the target.
        results: Of the networks; those that the column lacks or has no error of are left out, and so are baselines.
        quantised: Targets whose networks are int8.
    """
    searched = [result for result in results if not result.baseline]
    figures = {result.trial: figure_in(column, result) for result in searched}
    timed = [r for r in searched if (f := figures[r.trial]) and f.error_ms is not None and r.top1 is not None]
    top1s = [(result, top1_on(column, result, quantised)) for result in timed]
    known = [_Here(r.trial, r.target, top1, r.num_test_images) for r, top1 in top1s if top1 is not None]
    own = [here for here in known if here.target == column.target]
    others = [here for here in known if here.target != column.target]
    beaten = {}
    for mine in own:
        rivals = [column.figures[here.trial] for here in own if here.as_accurate(mine)]
        faster = [here for here in others if here.as_accurate(mine) and _faster(column.figures[here.trial], rivals)]
        if faster:
            beaten[mine.trial] = min(faster, key=lambda here: column.figures[here.trial].latency_ms).trial
    return Home(column.target, len(own), len(others), len(timed) - len(known), beaten)


def top1_on(column: Column, result: TrialResult, quantised: Collection[str]) -> float | None:
    """Return the top-1 of the file as which a network was timed for a column, where it is known.

    Files in fp32, fp16 and bf16 compute what the trained network does; what quantisation costs differs from network to
    network.

    Args:
        column: Of a target.
        result: Of the network.
        quantised: Targets whose networks are int8.
    """
    if (result.target in quantised) == (column.target in quantised):
        return result.top1
    return column.top1s.get(result.trial) if column.target in quantised else result.trained_top1


@dataclass(frozen=True)
class _Here:
    """How accurate the network that a trial found for its target is on a column's, by so many images."""

    trial: str
    target: str
    top1: float
    num_images: int | None

    @property
    def error(self) -> float:
        return sqrt(self.top1 * (1 - self.top1) / self.num_images) if self.num_images else 0.0

    def as_accurate(self, other: "_Here") -> bool:
        return self.top1 >= other.top1 - ERRORS * hypot(self.error, other.error)


def _faster(figure: Figure, others: Iterable[Figure]) -> bool:
    return all(_sure(figure, other) for other in others)


def _sure(figure: Figure, other: Figure) -> bool:
    """Return whether a figure is known to be the lower."""
    if figure.error_ms is None or other.error_ms is None:
        return False
    return figure.latency_ms < other.latency_ms - ERRORS * hypot(figure.error_ms, other.error_ms)
