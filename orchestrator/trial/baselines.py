"""The baselines' step of a sweep: widths chosen by measuring, then each trained and measured as a trial is.

Why here: it puts together what a trial is made of. Which baselines there are stands in `plan.baselines`.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

from rich.markup import escape

from orchestrator.cluster.devices import target_costs
from orchestrator.cluster.models import measure_model
from orchestrator.cluster.session import announced
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
from orchestrator.trial.files import MADE, delivered_file, makers_of, stored_outcome
from orchestrator.trial.records import DamagedFile, write_record
from orchestrator.trial.stages import open_data
from supernet.cost import CostTable
from supernet.errors import InputError, RunError, away
from supernet.network import build_network
from supernet.space import Architecture

Run = Callable[[Job, Trial, CostTable], None]
"""Runs one trial to its stored result."""


def run_baselines(job: Job, run: Run, say: Callable[[str], None], forget: Callable[[str], None]) -> None:
    """Run what is left of the baselines whose targets are at hand; no sweep fails for one.

    Args:
        job: The sweep.
        run: Runs a trial of a baseline's own job.
        say: Takes a line for the terminal.
        forget: Told the key of one whose width is chosen: what follows is told of under the key of its trial.
    """
    results = [result for result in stored_results(job).values() if result.done]
    for baseline in missing_baselines(job, results):
        try:
            if job.target(baseline.target).measured and not announced([baseline.target]):
                raise RunError("no node measures its target now; the same command trains it")
            try:
                inner, trial, costs = prepared(job, baseline)
            finally:
                forget(baseline.key)
            for twin in twins_of(job, inner, trial, results):
                take_training(inner, trial, twin)
            run(inner, trial, costs)
        except (InputError, RunError, OSError) as error:
            reason = away(error) if isinstance(error, OSError) else str(error)
            say(f"[yellow]{baseline.key}: no baseline: {escape(reason)}[/yellow]")


def prepared(job: Job, baseline: Baseline) -> tuple[Job, Trial, CostTable]:
    """Choose a baseline's width, and return the job, the trial and the costs that make it.

    Raises:
        RunError: If measuring fails.
        InputError: If the known network does not take the sweep's images.
    """
    if job.target(baseline.target).measured:  # of which networks run beside
        target_costs(job, baseline.target, baseline.key)
    cost_of = partial(_cost, job, baseline)
    widest(baseline.cost, cost_of)  # measures what it takes to choose one
    width = chosen_width(job, baseline)
    inner, trial = made_from(job, baseline, width)
    nothing = tuple((0.0,) * len(position.candidates) for position in inner.space.positions)
    return inner, trial, CostTable(baseline.target, job.target(baseline.target).unit, cost_of(width), nothing)


def twins_of(job: Job, inner: Job, trial: Trial, results: Sequence[TrialResult]) -> list[Trial]:
    """Return the trials of the same network at the same width, which stand beside other networks of the fronts.

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
    with contextlib.suppress(DamagedFile):  # then it is trained
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
    inner, path = scaled(job, baseline.name, width)
    if job.target(baseline.target).measured:
        cost = _measured(inner, inner.space.architecture(path), baseline)
    else:
        cost = target_costs(inner, baseline.target).total(path)
    keep_cost(job, baseline, width, cost)
    return cost


def _measured(job: Job, architecture: Architecture, baseline: Baseline) -> float:
    """Return what a known network takes in milliseconds, found as the gate will find it: as a file with random weights,
    beside networks of the sweep's table.

    Raises:
        RunError: If measuring fails, or the machine is much slower than when that table was measured.
    """
    target, network = job.target(baseline.target), build_network(job.space, architecture).eval()
    file = delivered_file(target)
    content = makers_of(network, target, open_data(job), job.run.deliver.int8)[file]()
    found = measure_model(job, target.name, file, content, baseline.cost, baseline.key)
    if found.slowed:
        raise RunError(f"{found.moved}; the same command chooses its width")
    return found.as_known.latency_ms
