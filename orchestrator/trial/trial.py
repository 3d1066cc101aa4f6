"""One trial from its budget to a measured network: search, export, measurement, gate.

Why here: this is what a Ray Tune trial runs; each step leaves its file in the trial's folder, and a restart
begins at the first one that is missing. It writes nothing to MLflow: only the driver does.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load

from latency.graphs.export import export_onnx, export_parity
from latency.measuring.measure import Measurement
from orchestrator.cluster.devices import await_target, measure_on_target, target_costs
from orchestrator.cluster.progress import poster
from orchestrator.data.storage import Storage
from orchestrator.plan.news import News
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import (
    ARCHITECTURE_FILE,
    FINDINGS_FILE,
    MEASUREMENT_FILE,
    ONNX_FILE,
    OUTCOME_FILE,
    RESULT_FILE,
    WEIGHTS_FILE,
    Job,
    Trial,
)
from orchestrator.report.rows import cost_text
from orchestrator.trial.records import (
    DamagedFile,
    Findings,
    Outcome,
    is_intact,
    read_checked,
    read_record,
    write_beside,
    write_record,
)
from orchestrator.trial.search_job import run_job
from supernet.cost import CostTable, count_cost
from supernet.errors import InputError, RunError
from supernet.network import build_network
from supernet.space import Architecture, architecture_to_json

# A prediction or an export that is further off than this is not believed.
MAX_PREDICTION_ERROR, MAX_EXPORT_ERROR = 0.10, 1e-3


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
            return _stored_outcome(store)
        except DamagedFile:
            repairing()
    make()
    return _stored_outcome(store)


def _stored_outcome(store: Storage) -> tuple[Outcome, bytes]:
    outcome: Outcome = read_record(store, OUTCOME_FILE, Outcome)
    return outcome, read_checked(store, WEIGHTS_FILE, outcome.weights)


def _measure(
    job: Job, trial: Trial, costs: CostTable, outcome: Outcome, weights: bytes, post: Callable[[News], None]
) -> TrialResult:
    """Export the trial's network, measure it on its target and put everything about it together."""
    store = job.trial_store(trial)
    space, architecture = job.space, Architecture.parse(outcome.architecture)
    described = architecture_to_json(space, architecture).encode()
    if not store.exists(ARCHITECTURE_FILE) or store.read(ARCHITECTURE_FILE) != described:
        store.write(ARCHITECTURE_FILE, described)
    network = build_network(space, architecture)
    network.load_state_dict(load(weights))
    network.eval()
    with tempfile.TemporaryDirectory(prefix="onepath-export-") as folder:
        if not is_intact(store, ONNX_FILE):
            post(News(trial.key, "export"))
            export_onnx(network, space.input_size, Path(folder) / ONNX_FILE)
            write_beside(store, ONNX_FILE, (Path(folder) / ONNX_FILE).read_bytes())
        export_error = export_parity(network, store.fetch(ONNX_FILE, Path(folder)), space.input_size)
    if not store.exists(MEASUREMENT_FILE):
        (found,) = measure_on_target(job, trial.target, [architecture], weights, trial.key)
        write_record(store, MEASUREMENT_FILE, found)
    measurement: Measurement = read_record(store, MEASUREMENT_FILE, Measurement)
    budget = None if trial.kind == "weight" else trial.reference(costs)
    counts = count_cost(space, architecture)
    doubt = _doubt(measurement, outcome.predicted_cost, budget, export_error, costs.unit)
    return job.result(
        trial,
        budget=budget,
        predicted_cost=outcome.predicted_cost,
        cost=measurement.latency_ms,
        cost_median=measurement.median_ms,
        cost_error=measurement.error_ms,
        top1=outcome.top1,
        num_test_images=outcome.num_test_images,
        validation_top1=outcome.validation_top1,
        num_validation_images=outcome.num_validation_images,
        num_params=counts["num_params"],
        num_macs=counts["num_macs"],
        architecture=architecture.id,
        doubt="; ".join(filter(None, (doubt, *_search_doubts(store, budget)))),
    )


def _search_doubts(store: Storage, budget: float | None) -> list[str]:
    """Return what shows that the trial's search has learnt nothing, where its findings are kept."""
    if not store.exists(FINDINGS_FILE):
        return []
    findings: Findings = read_record(store, FINDINGS_FILE, Findings)
    return findings.doubts(budget)


def _doubt(measurement: Measurement, predicted: float, budget: float | None, export_error: float, unit: str) -> str:
    """Return what does not agree about a finished network, or an empty text."""
    found = []
    measured = f"measured {cost_text(measurement.latency_ms, unit)}"
    error = measurement.latency_ms / predicted - 1
    if abs(error) > MAX_PREDICTION_ERROR:
        found.append(f"{measured}, predicted {cost_text(predicted, unit)} ({error:+.0%})")
    if budget is not None and measurement.latency_ms > budget:
        found.append(f"{measured} is over the budget of {cost_text(budget, unit)}")
    if export_error > MAX_EXPORT_ERROR:
        found.append(f"the ONNX file differs from the network by {export_error:.1e}")
    if measurement.noise:
        found.append(f"noisy measurement: {measurement.noise}")
    return "; ".join(found)
