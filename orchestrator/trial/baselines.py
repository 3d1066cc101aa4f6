"""The baselines' step of a sweep: widths chosen by measuring, then each trained and measured as a trial is.

Why here: it puts together what a trial is made of. Which baselines there are stands in `plan.baselines`.
"""

from collections.abc import Callable
from functools import partial

from rich.markup import escape

from orchestrator.cluster.devices import measure_on_target, target_costs
from orchestrator.cluster.session import announced
from orchestrator.plan.baselines import (
    Baseline,
    chosen_width,
    keep_cost,
    known_costs,
    made_from,
    missing_baselines,
    scaled,
    widest,
)
from orchestrator.plan.stored import stored_results
from orchestrator.plan.trials import Job, Trial
from supernet.cost import CostTable
from supernet.errors import InputError, RunError
from supernet.plain import check_name

Run = Callable[[Job, Trial, CostTable], None]
"""Runs one trial to its stored result."""


def run_baselines(job: Job, run: Run, say: Callable[[str], None], forget: Callable[[str], None]) -> None:
    """Run what is left of the baselines whose targets are at hand; no sweep fails for one.

    Args:
        job: The sweep.
        run: Runs a trial of a baseline's own job.
        say: Takes a line for the terminal.
        forget: Told the key of one that is over.
    """
    results = [result for result in stored_results(job).values() if result.done]
    for baseline in missing_baselines(job, results):
        try:
            if job.target(baseline.target).measured and not announced([baseline.target]):
                raise RunError("no node measures its target now; the same command trains it")
            inner, trial, costs = prepared(job, baseline)
            run(inner, trial, costs)
        except (InputError, RunError) as error:
            say(f"[yellow]{baseline.key}: no baseline: {escape(str(error))}[/yellow]")
        forget(baseline.key)


def prepared(job: Job, baseline: Baseline) -> tuple[Job, Trial, CostTable]:
    """Choose a baseline's width, and return the job, the trial and the costs that make it.

    Raises:
        RunError: If not even the narrowest takes as little as the front's network, or measuring fails.
        InputError: If the known network does not take the sweep's images.
    """
    cost_of = partial(_cost, job, baseline)
    check_name(baseline.key, f"baselines, {baseline.name}: the name of its trial")
    widest(baseline.cost, cost_of)  # measures what it takes to choose one
    width = chosen_width(job, baseline)
    inner, trial = made_from(job, baseline, width)
    nothing = tuple((0.0,) * len(position.candidates) for position in inner.space.positions)
    return inner, trial, CostTable(baseline.target, job.target(baseline.target).unit, cost_of(width), nothing)


def _cost(job: Job, baseline: Baseline, width: float) -> float:
    """Return what a known network costs on a target at some width, measured once."""
    known = known_costs(job, baseline).get(f"{width:g}")
    if known is not None:
        return known
    inner, path = scaled(job, baseline.name, width)
    if job.target(baseline.target).measured:
        (found,) = measure_on_target(inner, baseline.target, [inner.space.architecture(path)], key=baseline.key)
        cost = found.latency_ms
    else:
        cost = target_costs(inner, baseline.target).total(path)
    keep_cost(job, baseline, width, cost)
    return cost
