"""One trial from its budget to a measured network: search, export, measurement, gate.

Why here: this is what a Ray Tune trial runs; each step leaves its file in the trial's folder, and a restart
begins at the first one that is missing. It writes nothing to MLflow: only the driver does.
"""

from collections.abc import Callable

from orchestrator.cluster.devices import await_target, target_costs
from orchestrator.cluster.progress import poster
from orchestrator.data.storage import Storage
from orchestrator.plan.news import News
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import (
    ARCHITECTURE_FILE,
    FINDINGS_FILE,
    OUTCOME_FILE,
    RESULT_FILE,
    Job,
    Trial,
)
from orchestrator.report.rows import cost_text
from orchestrator.trial.deliver import deliver, unlike_files
from orchestrator.trial.files import network_of, stored_outcome
from orchestrator.trial.records import (
    DamagedFile,
    Findings,
    NetworkCost,
    Outcome,
    read_record,
    write_record,
)
from orchestrator.trial.search_job import run_job
from supernet.cost import CostTable, count_cost
from supernet.errors import InputError, RunError
from supernet.space import Architecture, architecture_to_json

MAX_PREDICTION_ERROR = 0.10
"""A prediction that is further off is not believed."""


def run_trial(job: Job, trial: Trial, costs: CostTable | None = None) -> TrialResult:
    """Run what is left of a trial.

    Args:
        job: The sweep.
        trial: One of it.
        costs: Of its target; None has them measured when the target is there.

    Returns:
        The result; a trial that fails is a result with a reason. A finished one is also stored.
    """
    store, post = job.trial_store(trial), poster()
    try:
        await_target(job, trial.target, lambda what: post(News(trial.key, "wait", waits_for=what)))
        costs = costs or target_costs(job, trial.target)
        outcome, weights = _outcome(
            store, lambda: _train(job, trial, costs, post), lambda: post(News(trial.key, "repair"))
        )
        result = _measure(job, trial, costs, outcome, weights, post)
    except (InputError, RunError) as error:
        return job.result(trial, status="failed", reason=str(error))
    write_record(store, RESULT_FILE, result)
    return result


def _train(job: Job, trial: Trial, costs: CostTable, post: Callable[[News], None]) -> None:
    post(News(trial.key, "workers", waits_for=job.run.workers.wanted))
    run_job(job, trial, costs)


def _outcome(store: Storage, make: Callable[[], None], repairing: Callable[[], None]) -> tuple[Outcome, bytes]:
    """Return what the ranks came to and the network's weights, made where they are missing, or not what was stored.

    Steps are pure functions of their index, so what is made again from a checkpoint is the same.
    """
    if store.exists(OUTCOME_FILE):
        try:
            return stored_outcome(store)
        except DamagedFile:
            repairing()
    make()
    return stored_outcome(store)


def _measure(
    job: Job, trial: Trial, costs: CostTable, outcome: Outcome, weights: bytes, post: Callable[[News], None]
) -> TrialResult:
    """Export the trial's network, measure it on its target and put everything about it together."""
    store = job.trial_store(trial)
    space, architecture = job.space, Architecture.parse(outcome.architecture)
    described = architecture_to_json(space, architecture).encode()
    if not store.exists(ARCHITECTURE_FILE) or store.read(ARCHITECTURE_FILE) != described:
        store.write(ARCHITECTURE_FILE, described)
    network = network_of(job, outcome, weights)
    delivered = deliver(job, trial, lambda: network, outcome.predicted_cost, post)
    cost, evaluation = delivered.cost, delivered.evaluation
    unlike = unlike_files(store, job.target(trial.target), network, space.input_size)
    budget = None if trial.kind == "weight" else trial.reference(costs)
    counts = count_cost(space, architecture)
    loss = delivered.loss(outcome.top1, job.run.deliver.max_top1_loss, job.target(trial.target).precision)
    doubt = _doubt(cost, outcome.predicted_cost, budget, costs.unit)
    findings = read_record(store, FINDINGS_FILE, Findings) if store.exists(FINDINGS_FILE) else None
    return job.result(
        trial,
        budget=budget,
        predicted_cost=outcome.predicted_cost,
        cost=cost.value,
        cost_median=cost.median,
        cost_error=cost.error,
        top1=evaluation.top1,
        top5=evaluation.top5,
        num_test_images=outcome.num_test_images,
        validation_top1=evaluation.validation_top1,
        num_validation_images=outcome.num_validation_images,
        shared_loss=findings.chosen.loss if findings else None,
        random_loss=min((found.loss for found in findings.chance), default=None) if findings else None,
        num_random=len(findings.chance) if findings else None,
        torch_top1=evaluation.torch_top1,
        num_params=counts["num_params"],
        num_macs=counts["num_macs"],
        architecture=architecture.id,
        file=delivered.file,
        file_sha256=evaluation.file_sha256,
        file_bytes=delivered.num_bytes,
        data=delivered.data,
        doubt="; ".join(filter(None, (doubt, *unlike, loss, *(findings.doubts(budget) if findings else ())))),
    )


def _doubt(cost: NetworkCost, predicted: float, budget: float | None, unit: str) -> str:
    """Return what does not agree about a finished network, or an empty text."""
    found = []
    measured = f"measured {cost_text(cost.value, unit)}"
    error = cost.value / predicted - 1
    if abs(error) > MAX_PREDICTION_ERROR:
        found.append(f"{measured}, predicted {cost_text(predicted, unit)} ({error:+.0%})")
    if budget is not None and cost.value > budget:
        found.append(f"{measured} is over the budget of {cost_text(budget, unit)}")
    if cost.noise:
        found.append(f"noisy measurement: {cost.noise}")
    return "; ".join(found)
