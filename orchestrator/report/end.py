"""How a sweep and its trials ended, in words, and whether that is a success. It must not know how they ran."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.markup import escape

from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import num_left
from orchestrator.plan.trials import Job
from orchestrator.report.rows import cost_text
from supernet.errors import RunError


@dataclass(frozen=True)
class SweepEnd:
    """How a sweep ended.

    Attributes:
        job: The sweep.
        results: One per trial, failed ones with their reason.
        idle: Whether nothing was left to run: no trial, no baseline, and no column of the cross table.
        reasons: Why a target has no cost table.
        unregistered: What could not be registered and why, with the remedy; empty if all is.
    """

    job: Job
    results: list[TrialResult]
    idle: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)
    unregistered: str = ""

    @property
    def unplaced(self) -> dict[str, int]:
        """Points that could not be placed, by target: it has no cost table."""
        left = num_left(self.job, [result.trial for result in self.results])
        return left if self.job.run.sweep.points else {}


def describe(result: TrialResult) -> str:
    """Return one line about a finished trial."""
    if result.top1 is None or result.cost is None:
        return f"[red]{result.trial}: failed: {escape(result.reason)}[/red]"
    budget = f" of {cost_text(result.budget, result.unit)}" if result.budget else ""
    rejected = "" if result.done else f" [red]rejected: {escape(result.reason)}[/red]"
    doubt = f" [yellow]({escape(result.doubt)})[/yellow]" if result.doubt else ""
    return f"{result.trial}: top-1 {result.top1:.1%}, {cost_text(result.cost, result.unit)}{budget}{rejected}{doubt}"


def require_success(end: SweepEnd) -> None:
    """Raise if a trial failed, a point could not be placed, no network passed the gate, or the registry lacks some.

    Raises:
        RunError: Naming the trials and their reasons; some ask for something first, such as to remove a damaged file.
    """
    failed, told = [result for result in end.results if not result.finished], []
    if failed:
        reasons = "; ".join(f"{result.trial}: {result.reason}" for result in failed)
        told.append(f"{len(failed)} of {len(end.results)} trials failed ({reasons})")
    if end.unplaced:
        known = {name: f": {reason}" for name, reason in end.reasons.items()}
        names = "; ".join(f"{number} on {name}{known.get(name, '')}" for name, number in end.unplaced.items())
        told.append(f"points could not be placed without a cost table ({names})")
    said = []
    if told:
        said.append(f"{'; '.join(told)}; once the reasons are seen to, the same command tries again")
    elif not any(result.done for result in end.results):
        reasons = "; ".join(f"{result.trial}: {result.reason}" for result in end.results)
        said.append(f"every network of {end.job.run.name} was rejected ({reasons})")
    if end.unregistered:
        said.append(end.unregistered)
    if said:
        raise RunError("\n  ".join(said))
