"""The baselines' step of a sweep: widths chosen by measuring, then all trained and measured as trials are.

Why here: it puts together what a trial is made of. Which baselines there are stands in `plan.baselines`; how many run
beside each other, in `turns`.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from rich.markup import escape

from latency.tables.estimate import cost_table
from orchestrator.cluster.devices import disturbance
from orchestrator.cluster.models import measure_model
from orchestrator.plan.baselines import (
    Baseline,
    baselines_of,
    chosen,
    chosen_width,
    keep_cost,
    known_costs,
    made_from,
    missing_baselines,
    scaled,
    widest,
)
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import stored_results
from orchestrator.plan.trials import OUTCOME_FILE, WEIGHTS_FILE, Job, Trial
from orchestrator.report.end import describe
from orchestrator.report.live import LiveView
from orchestrator.trial.files import MADE, delivered_file, makers_of, stored_outcome
from orchestrator.trial.records import DamagedFile, write_record
from orchestrator.trial.stages import open_data
from orchestrator.trial.tables import Tables
from orchestrator.trial.tuning import Take, Turn
from orchestrator.trial.turns import Turns
from supernet.cost import CostTable
from supernet.errors import RunError, reason_of
from supernet.network import build_network
from supernet.space import Architecture


class Run(Protocol):
    """Runs trials as they have their turns, as `tuning.tune_trials` does."""

    def __call__(self, turns: Iterator[Turn | None], take: Take, *, own: Mapping[str, Job]) -> None:
        """Run them; `own` has the job of each, by key."""


@dataclass(frozen=True)
class Made:
    """A baseline whose width is chosen.

    Attributes:
        job: Its own, of its width.
        trial: That trains and measures it.
        costs: What it takes on its target.
    """

    job: Job
    trial: Trial
    costs: CostTable


def run_baselines(job: Job, run: Run, tables: Tables, at_once: Callable[[], int], view: LiveView) -> None:
    """Run what is left of the baselines whose targets are at hand, beside each other; no sweep fails for one.

    Args:
        job: The sweep.
        run: Runs trials.
        tables: Of the sweep's targets.
        at_once: Returns how many trials may run now.
        view: Told of them.
    """
    results = [result for result in stored_results(job).values() if result.done]
    missing = missing_baselines(job, results)
    tables.ask(tables.at_hand({baseline.target for baseline in missing}))
    tables.wait()  # of which networks run beside those whose widths are chosen
    made = list({one.trial.key: one for one in _made(job, missing, tables, view)}.values())
    if not made:
        return
    trials = InTurn(job, made, results)
    turns = Turns(trials.next, tables, at_once)

    def take(trial: Trial, result: TrialResult) -> None:
        trials.ended(trial)
        turns.ended(trial.key)
        view.forget(trial.key)
        view.say(f"baseline {describe(result)}")

    run(trials.with_costs(turns), take, own={one.trial.key: one.job for one in made})
    for one in trials.left:
        view.say(f"[yellow]{one.trial.key}: no baseline: {escape(_why_not(tables, one.trial.target))}[/yellow]")


def _made(job: Job, missing: Sequence[Baseline], tables: Tables, view: LiveView) -> Iterator[Made]:
    """Choose the widths of baselines, one after the other, while nothing else keeps the machine busy."""
    for baseline in missing:
        try:
            if baseline.target not in tables.ready(patient=True):
                raise RunError(_why_not(tables, baseline.target))
            yield prepared(job, baseline)
        except Exception as error:  # of export or quantisation, too: the sweep has its networks
            view.say(f"[yellow]{baseline.key}: no baseline: {escape(reason_of(error))}[/yellow]")
        finally:
            view.forget(baseline.key)  # what follows is told of under the key of its trial


def _why_not(tables: Tables, target: str) -> str:
    return tables.reasons.get(target, "no node measures its target now; the same command trains it")


class InTurn:
    """The baselines that are left, each once nothing else trains the same network: then its weights are taken over.

    Args:
        job: The sweep.
        made: The baselines.
        results: Of the searched networks.

    Attributes:
        left: Those that had no turn yet.
    """

    def __init__(self, job: Job, made: Sequence[Made], results: Sequence[TrialResult]) -> None:
        self.left, self._job, self._results = list(made), job, results
        self._made = {one.trial.key: one for one in made}
        self._running: list[Made] = []

    def next(self, costs: Mapping[str, CostTable]) -> Trial | None:
        """Return the next one of the targets that are ready; none where it has to wait."""
        found = next((one for one in self.left if one.trial.target in costs and not self._trains(one)), None)
        if found is None:
            return None
        self.left.remove(found)
        self._running.append(found)
        for twin in twins_of(self._job, found.job, found.trial, self._results):
            take_training(found.job, found.trial, twin)
        return found.trial

    def ended(self, trial: Trial) -> None:
        """Take note that one is over."""
        self._running.remove(self._made[trial.key])

    def with_costs(self, turns: Iterator[Turn | None]) -> Iterator[Turn | None]:
        """Give the turns with the costs of the baselines: those of the targets are of the sweep's space."""
        for turn in turns:
            yield turn and (turn[0], self._made[turn[0].key].costs)

    def _trains(self, one: Made) -> bool:
        """Whether the same network is being trained."""
        same = one.job.space, one.trial.path
        return any((other.job.space, other.trial.path) == same for other in self._running)


def prepared(job: Job, baseline: Baseline) -> Made:
    """Choose a baseline's width, by measuring where its target does.

    Raises:
        RunError: If measuring fails.
        InputError: If the known network does not take the sweep's images.
    """
    cost_of = partial(_cost, job, baseline)
    widest(baseline.cost, cost_of)  # measures what it takes to choose one
    width = chosen_width(job, baseline)
    inner, trial = made_from(job, baseline, width)
    nothing = tuple((0.0,) * len(position.candidates) for position in inner.space.positions)
    return Made(inner, trial, CostTable(baseline.target, job.target(baseline.target).unit, cost_of(width), nothing))


def twins_of(job: Job, inner: Job, trial: Trial, results: Sequence[TrialResult]) -> list[Trial]:
    """Return the trials of the same network at the same width on other targets.

    Args:
        job: The sweep.
        inner: Job of the baseline.
        trial: Its trial.
        results: Of the searched networks.
    """
    made = filter(None, (chosen(job, other) for other in baselines_of(job, results)))
    return [twin for own, twin in made if (own.space, twin.path) == (inner.space, trial.path) and twin.key != trial.key]


def take_training(job: Job, trial: Trial, twin: Trial) -> None:
    """Take over the weights of a trial of the same network: they hang on its layers, the recipe and the seed alone.

    Nothing is taken where the twin has not finished its training, or the trial has.
    """
    store = job.trial_store(trial)
    if store.exists(OUTCOME_FILE) or not job.trial_store(twin).exists(OUTCOME_FILE):
        return
    with contextlib.suppress(DamagedFile, OSError):  # then it is trained
        outcome, weights = stored_outcome(job.trial_store(twin))
        for name in MADE:
            store.remove(name)
        store.write(WEIGHTS_FILE, weights)
        write_record(store, OUTCOME_FILE, outcome)


def _cost(job: Job, baseline: Baseline, width: float) -> float:
    """Return what a known network costs on a target at some width, measured once."""
    known = known_costs(job, baseline).get(f"{width:g}")
    if known is not None:
        return known
    inner, path = scaled(job, baseline.network, width)
    target = job.target(baseline.target)
    if target.measured:
        cost = _measured(inner, inner.space.architecture(path), baseline)
    else:
        cost = cost_table(inner.space, target, "").total(path)
    keep_cost(job, baseline, width, cost)
    return cost


def _measured(job: Job, architecture: Architecture, baseline: Baseline) -> float:
    """Return what a known network takes in milliseconds, found as the gate will find it: as a file with random weights,
    beside networks of the sweep's table.

    Raises:
        RunError: If measuring fails, or the figure cannot be believed: it is kept, and a network would be too narrow.
    """
    target, network = job.target(baseline.target), build_network(job.space, architecture).eval()
    file = delivered_file(target)
    content = makers_of(network, target, open_data(job), job.run.deliver.int8)[file]()
    found = measure_model(job, target.name, file, content, baseline.cost, baseline.key)
    if disturbed := disturbance(found):
        raise RunError(f"{disturbed}; the same command chooses its width")
    return found.as_known.latency_ms
