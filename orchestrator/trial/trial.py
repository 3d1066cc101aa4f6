"""One trial from its budget to a measured network: search, export, measurement, gate.

Why here: this is what a Ray Tune trial runs; each step leaves its file in the trial's folder, and a restart
begins at the first one that is missing. It writes nothing to MLflow: only the driver does.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from orchestrator.cluster.beside import measured_again
from orchestrator.cluster.models import ask_model, measure_model
from orchestrator.cluster.progress import poster
from orchestrator.cluster.tasks import LOST
from orchestrator.data.storage import Storage
from orchestrator.plan.limits import MIB
from orchestrator.plan.news import News
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import (
    FINDINGS_FILE,
    MEASUREMENT_FILE,
    OUTCOME_FILE,
    RESULT_FILE,
    Job,
    Trial,
)
from orchestrator.trial.corrections import Correction, corrected, corrections_of, keep_corrections
from orchestrator.trial.deliver import Bench, Delivered, deliver, differences
from orchestrator.trial.files import MADE, describe_network, network_of, stored_outcome
from orchestrator.trial.gate import Figures, Verdict, judge
from orchestrator.trial.place import Post
from orchestrator.trial.records import DamagedFile, Findings, Outcome, read_record, write_record
from orchestrator.trial.search_job import run_job
from supernet.cost import CostTable, count_cost
from supernet.errors import InputError, RunError, reason_of
from supernet.peak import network_peak
from supernet.proposals import best_within
from supernet.space import Architecture

MEASURED_AGAIN = 2
"""Times that a file is measured where the first one says that it is slower than it may be; see `Timing`. That
takes seconds, the training of another network may take hours."""


def run_trial(job: Job, trial: Trial, costs: CostTable, *, here: bool = False) -> TrialResult:
    """Run what is left of a trial.

    Args:
        job: The sweep.
        trial: One of it.
        costs: By the table of its target.
        here: See `room.runs_here`.

    Returns:
        The result; a trial that fails is a result with a reason. A finished one is also stored.

    Raises:
        LOST: What another start may mend.
    """
    post = poster()
    bench = Bench(
        lambda name, content, near_ms: measure_model(job, trial.target, name, content, near_ms, trial.key),
        lambda name, content, images: ask_model(job, trial.target, name, content, images, trial.key),
    )
    try:
        result = finish(job, trial, costs, lambda: _train(job, trial, costs, post, here=here), bench, post)
        write_record(job.trial_store(trial), RESULT_FILE, result)
    except (InputError, RunError, OSError) as error:  # what was stored until then is kept
        return job.result(trial, budget=trial.budget(costs), status="failed", reason=reason_of(error))
    except LOST:
        raise
    except Exception as error:  # of export, quantisation or a program: it would come again, and costs hours to come to
        logging.getLogger(__name__).exception("trial %s", trial.key)
        return job.result(trial, budget=trial.budget(costs), status="failed", reason=reason_of(error))
    return result


def _train(job: Job, trial: Trial, costs: CostTable, post: Post, *, here: bool) -> None:
    if not here:
        post(News(trial.key, "workers", waits_for=job.run.workers.wanted))
    run_job(job, trial, costs, here=here)


def finish(
    job: Job, trial: Trial, costs: CostTable, train: Callable[[], None], bench: Bench, post: Post
) -> TrialResult:
    """Bring a trial to a network that passes the gate, or to one that is rejected.

    A network that is measured over its budget, and has no other fault, corrects the table and is replaced, as often as
    the gate allows. What is stored says where a restart goes on: the corrections, and under how many of them the
    outcome was derived.

    Args:
        job: The sweep.
        trial: One of it.
        costs: By the table of its target.
        train: Searches, derives and trains under the stored corrections, until the outcome is stored.
        bench: Where the target is.
        post: Takes the news.

    Raises:
        InputError, RunError: If a step fails.
    """
    store = job.trial_store(trial)
    budget = trial.budget(costs)
    while True:
        corrections = corrections_of(store)
        outcome, weights = _outcome(store, len(corrections), train, lambda: post(News(trial.key, "repair")))
        # By the table of now: one that was measured anew may predict another cost than the one it was derived by.
        predicted = costs.total(job.space.path(Architecture.parse(outcome.architecture)))
        delivered, verdict = _deliver(job, trial, predicted, costs, budget, outcome, weights, bench, post)
        over = Correction(outcome.architecture, delivered.cost.value)
        if not verdict.correctable or not _can_correct(job, trial, costs, budget, (*corrections, over)):
            return _result(job, trial, predicted, budget, outcome, delivered, verdict)
        post(News(trial.key, "over the budget, derive again"))
        keep_corrections(store, (*corrections, over))


def _can_correct(
    job: Job, trial: Trial, costs: CostTable, budget: float | None, corrections: Sequence[Correction]
) -> bool:
    """Whether another derivation is allowed, and some network keeps budget and limits by the corrected table.

    A network that came again, because its search had dropped all that is cheaper, would come once more.
    """
    again = len({known.architecture for known in corrections}) < len(corrections)
    if budget is None or again or len(corrections) > job.run.gate.max_corrections:
        return False
    table = corrected(costs, job.space, corrections)
    try:
        best_within(torch.zeros_like(costs.matrix), table, budget, job.limits(trial.target))
    except InputError:
        return False
    return True


def _outcome(
    store: Storage, num_corrections: int, make: Callable[[], None], repairing: Callable[[], None]
) -> tuple[Outcome, bytes]:
    """Return what the ranks came to and the network's weights, made where they are missing, or not what was stored.

    Steps are pure functions of their index, so what is made again from a checkpoint is the same. The files that were
    made of another network's weights go first.
    """
    if store.exists(OUTCOME_FILE):
        try:
            outcome, weights = stored_outcome(store)
            if outcome.num_corrections == num_corrections:
                return outcome, weights
        except DamagedFile:
            repairing()
    for name in MADE:
        store.remove(name)
    make()
    return stored_outcome(store)


def _deliver(
    job: Job,
    trial: Trial,
    predicted: float,
    costs: CostTable,
    budget: float | None,
    outcome: Outcome,
    weights: bytes,
    bench: Bench,
    post: Post,
) -> tuple[Delivered, Verdict]:
    """Export the trial's network, measure it on its target, and hold everything that is known of it together.

    Raises:
        RunError: If a step fails, or the network is too slow by a measurement that cannot be believed: it is dropped.
    """
    store, target, space = job.trial_store(trial), job.target(trial.target), job.space
    describe_network(job, trial, outcome)
    network = network_of(job, outcome, weights)
    delivered = deliver(job, trial, lambda: network, predicted, bench, post)
    figures = Figures(
        unit=costs.unit,
        predicted=predicted,
        table_error=costs.error if target.measured else 0.0,
        budget=budget,
        cost=delivered.cost,
        differences=differences(store, target, network, space.input_size),
        file=f"{delivered.file} ({target.precision})",
        wanted_top1=outcome.top1,
        top1=delivered.evaluation.top1,
        num_images=outcome.num_test_images,
        counted=_counted(job, outcome, delivered),
    )
    verdict = judge(figures, job.run.gate)
    if verdict.too_slow:
        delivered = deliver(job, trial, lambda: network, predicted, bench, post, MEASURED_AGAIN)
        verdict = judge(replace(figures, cost=delivered.cost), job.run.gate)
    if verdict.disturbed:  # another network would seem as slow, and this one may be good
        store.remove(MEASUREMENT_FILE)
        remedy = measured_again(job, trial.target, slowed=delivered.cost.slowed)
        raise RunError(f"{verdict.reason}; but {verdict.disturbed}; {remedy}")
    return delivered, verdict


def _counted(job: Job, outcome: Outcome, delivered: Delivered) -> dict[str, tuple[float, float]]:
    """Return what is limited besides the budget, of the network as it is, with its limit."""
    architecture = Architecture.parse(outcome.architecture)
    counts = count_cost(job.space, architecture)
    found = {
        "params": counts["num_params"],
        "macs": counts["num_macs"],
        "file_mib": delivered.num_bytes / MIB,
        "peak_memory_mib": network_peak(job.space, job.space.path(architecture)) / MIB,
    }
    asked = job.run.limits.model_dump(exclude_none=True)
    return {name: (float(found[name]), most) for name, most in asked.items()}


def _result(
    job: Job,
    trial: Trial,
    predicted: float,
    budget: float | None,
    outcome: Outcome,
    delivered: Delivered,
    verdict: Verdict,
) -> TrialResult:
    """Put everything about a trial's network together."""
    store = job.trial_store(trial)
    cost, evaluation = delivered.cost, delivered.evaluation
    counts = count_cost(job.space, Architecture.parse(outcome.architecture))
    findings = read_record(store, FINDINGS_FILE, Findings) if store.exists(FINDINGS_FILE) else None
    return job.result(
        trial,
        budget=budget,
        predicted_cost=predicted,
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
        trained_top1=outcome.top1,
        torch_top1=evaluation.torch_top1,
        num_params=counts["num_params"],
        num_macs=counts["num_macs"],
        peak_memory_mib=network_peak(job.space, job.space.path(Architecture.parse(outcome.architecture))) / MIB,
        architecture=outcome.architecture,
        file=delivered.file,
        file_sha256=evaluation.file_sha256,
        file_bytes=delivered.num_bytes,
        data=delivered.data,
        num_corrections=outcome.num_corrections,
        status="rejected" if verdict.reason else "done",
        reason=verdict.reason,
        doubt="; ".join((*verdict.doubts, *(findings.doubts(budget) if findings else ()))),
    )
