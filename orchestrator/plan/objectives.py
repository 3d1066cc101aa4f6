"""What a trial minimises on its target's table, which cannot be searched for on theirs, and which nothing limits.

Why here: the driver must find before the warm-up, which may take hours, what a trial's search would find after it, by
the same rule; a forecast too, by the tables that are at hand. It must not know how a search runs.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from latency.tables.estimate import cost_table
from orchestrator.plan.stored import finished_results, known_trials
from orchestrator.plan.trials import TABLES_FOLDER, Job, Trial
from orchestrator.report.rows import cost_text
from supernet.cost import CostTable
from supernet.errors import InputError
from supernet.objective import ObjectiveSettings, make_objective


def objective_settings(job: Job, trial: Trial, costs: CostTable) -> ObjectiveSettings:
    """Return the objective of a trial's search, with its budget or weight, on the table of its target."""
    given = job.run.search.objective
    weight = trial.value if trial.kind == "weight" else given.weight
    return replace(given, reference=trial.reference(costs, given.reference), weight=weight)


def costs_at_hand(job: Job) -> dict[str, CostTable]:
    """Return what is known of targets before anything is measured, by name: counts, and tables that hold here."""
    folder, known = job.root.child(TABLES_FOLDER), {}
    for name, target in job.targets.items():
        if folder.is_local or not target.measured:
            with contextlib.suppress(InputError):  # there is none, or it belongs to something else
                known[name] = cost_table(job.space, target, folder.uri)
    return known


def require_searchable(job: Job, tables: Mapping[str, CostTable]) -> dict[str, str]:
    """Return why trials cannot be searched for, by key; one whose target has no table yet may be.

    Args:
        job: The sweep. Points are placed within their tables, so there is nothing to find of those to come.
        tables: By target, those that are known.

    Raises:
        InputError: If trials are left, and none of them can be searched for.
    """
    left, reasons = _left(job), dict[str, str]()
    for trial in left:
        if costs := tables.get(trial.target):
            try:
                make_objective(objective_settings(job, trial, costs), costs, job.limits(trial.target))
            except InputError as error:
                reasons[trial.key] = str(error)
    if reasons and len(reasons) == len(left):
        told = "\n  ".join(f"{key}: {reason}" for key, reason in reasons.items())
        raise InputError(f"no trial that is left of sweep {job.run.name!r} can be searched for:\n  {told}")
    return reasons


def limited_by_nothing(job: Job, tables: Mapping[str, CostTable]) -> dict[str, str]:
    """Return which trials that are left have a budget that every network keeps, by key: it may be in another unit."""
    found = {}
    for trial in _left(job):
        costs = tables.get(trial.target)
        budget = trial.budget(costs)
        if costs and budget is not None and budget > costs.maximum:
            found[trial.key] = (
                f"every network of the space keeps its budget of {cost_text(budget, costs.unit)}: the dearest takes "
                f"{cost_text(costs.maximum, costs.unit)}"
            )
    return found


def _left(job: Job) -> list[Trial]:
    finished = finished_results(job)
    return [trial for trial in known_trials(job) if trial.key not in finished]
