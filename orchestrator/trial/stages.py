"""What the ranks of one training job do: the shared warm-up, or one trial from search to finished network.

Why here: it is the same on one process, under torchrun and on a cluster. Ranks, checkpoints, news and devices
are passed in; this file knows no Ray.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import save

from orchestrator.cluster.progress import Speed
from orchestrator.data.batches import ImageData
from orchestrator.plan.news import SHARED_KEY, News
from orchestrator.plan.objectives import objective_settings
from orchestrator.plan.trials import (
    ARCHITECTURE_FILE,
    OUTCOME_FILE,
    SEARCH_FILE,
    WARMUP_FILE,
    WARMUP_KEY,
    WEIGHTS_FILE,
    Job,
    Trial,
)
from orchestrator.trial.corrections import Correction, corrected, corrections_of, train_key
from orchestrator.trial.curve import Curve, KeptCurve, NoCurve
from orchestrator.trial.deriving import Measure, derive_path
from orchestrator.trial.inheriting import first_supernet, stored_weights
from orchestrator.trial.phases import Finishing, Searching, read_state, to_state
from orchestrator.trial.place import Place
from orchestrator.trial.pooling import fill_pool
from orchestrator.trial.records import (
    Outcome,
    Start,
    checksum,
    is_intact,
    note_start,
    write_beside,
    write_record,
)
from supernet.cost import CostTable
from supernet.judging import share_statistics
from supernet.loop import Search, StepRecord
from supernet.network import Supernet
from supernet.space import Architecture, Path, architecture_to_json
from supernet.specialise import Training, specialise
from supernet.training import learning_rate


def open_data(job: Job, *, final: bool = False) -> ImageData:
    """Return the images of a job at the size of its space, augmented as in its search or as in the final training."""
    run = job.run
    return ImageData(
        job.data_root,
        input_size=job.space.input_size,
        seed=run.seed,
        augment=(run.data.final_augment if final else None) or run.data.augment,
        num_loader_workers=run.data.num_loader_workers,
    )


def run_warmup(job: Job, place: Place) -> None:
    """Train the shared supernet on uniformly drawn paths, fill the pool that trials derive from, store the weights.

    Where the weights are there, only what the pool lacks is judged on them.
    """
    run = job.run
    if is_intact(job.store, WARMUP_FILE):
        if run.fills_pool:
            fill_pool(job, load_warm_supernet(job).to(place.device), open_data(job), place)
        return
    state = read_state(place.saver.load(), WARMUP_KEY)
    supernet = (Supernet(job.space, seed=run.seed) if state else first_supernet(job)).to(place.device)
    place.sync.broadcast([p.data for p in supernet.parameters()])
    nothing = CostTable("none", "1", 0.0, tuple((0.0,) * len(p.candidates) for p in supernet.space.positions))
    data = open_data(job)
    search = Search(supernet, nothing, run.warmup, data, seed=run.seed, sync=place.sync)
    if isinstance(state, Searching):
        search.load_state_dict(state.search)
    _note_start(job, WARMUP_KEY, "search", search.step_index, place)
    _run_search(search, "warm-up", SHARED_KEY, place, NoCurve())
    if not run.own_batches:
        share_statistics(supernet, data, run.warmup.batch_size)
    if run.fills_pool:
        fill_pool(job, supernet, data, place)
    if place.sync.rank == 0:
        buffer = io.BytesIO()
        torch.save(supernet.state_dict(), buffer)
        write_beside(job.store, WARMUP_FILE, buffer.getvalue())


def load_warm_supernet(job: Job) -> Supernet:
    """Return the supernet with the weights that `run_warmup` stored.

    Raises:
        RunError: If they are not what was stored, naming the file.
    """
    supernet = Supernet(job.space, seed=job.run.seed)
    supernet.load_state_dict(stored_weights(job.store))
    return supernet


def run_trial_stages(job: Job, trial: Trial, costs: CostTable, place: Place, measure: Measure) -> None:
    """Search one trial, derive its network, train it to its end and store it with its accuracy.

    Every stage continues from the last checkpoint; the network's files are written last.
    """
    run, data, corrections = job.run, open_data(job), corrections_of(job.trial_store(trial))
    state = read_state(place.saver.load(), train_key(trial.key, corrections))
    supernet = (Supernet(job.space) if trial.baseline else load_warm_supernet(job)).to(place.device)
    if isinstance(state, Finishing):
        path = state.path
    elif trial.baseline:
        path = trial.path
    else:
        path = _search_path(job, trial, costs, corrections, supernet, data, place, measure, state)
    architecture = supernet.space.architecture(path)
    inherit = run.train.inherit and not trial.baseline and not isinstance(state, Finishing)
    network = specialise(supernet, architecture, inherit=inherit, seed=run.seed)
    place.sync.broadcast([p.data for p in network.parameters()])
    training = Training(network, run.train, open_data(job, final=True), seed=run.seed, sync=place.sync)
    if isinstance(state, Finishing):
        training.load_state_dict(state.training)
        _note_start(job, trial.key, "train", training.step_index, place)
    _finish(trial.key, path, training, place, begun=isinstance(state, Finishing))
    if place.sync.rank == 0:
        place.post(News(trial.key, "evaluate"))
        training.finish()
        weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
        _store_outcome(job, trial, training, architecture, save(weights), len(corrections))


def _search_path(
    job: Job,
    trial: Trial,
    costs: CostTable,
    corrections: Sequence[Correction],
    supernet: Supernet,
    data: ImageData,
    place: Place,
    measure: Measure,
    state: Searching | None,
) -> Path:
    """Search from where a checkpoint left it, and derive the path that becomes the network.

    A search is a pure function of its settings, so one that is repeated for another derivation ends as the first did.
    """
    search = _trial_search(job, trial, costs, supernet, data, place)
    if state:
        search.load_state_dict(state.search)
    _note_start(job, trial.key, "search", search.step_index, place)
    whole = search.settings.num_steps
    curve = KeptCurve(job.trial_store(trial), whole, search.step_index) if place.sync.rank == 0 else NoCurve()
    _run_search(search, "search", trial.key, place, curve)
    if place.sync.rank == 0:
        alpha = {name: tensor.tolist() for name, tensor in search.alpha.state_dict().items()}
        job.trial_store(trial).write_json(SEARCH_FILE, {"num_steps": search.step_index, **alpha})
    return derive_path(job, trial, corrected(costs, job.space, corrections), search, data, place, measure)


def _finish(key: str, path: Path, training: Training, place: Place, *, begun: bool) -> None:
    """Make the remaining steps of the final training, saving and telling where it is."""

    def state() -> dict[str, Any]:
        return to_state(Finishing(path, training.state_dict()))

    if not begun:
        place.saver.save(state, "train-000000")
    speed = Speed(training.settings.batch_size, training.step_index)
    while not training.done:
        loss = training.step()
        step = training.step_index
        if place.sync.rank == 0 and training.looks:
            numbers = {"loss": float(loss), "learning_rate": learning_rate(training.optimiser)}
            numbers["images_per_second"] = speed.at(step)
            place.post(News(key, "train", step, training.settings.num_steps, numbers))
        if place.saver.due(step):
            place.saver.save(state, f"train-{step:06d}")


def _store_outcome(
    job: Job,
    trial: Trial,
    training: Training,
    architecture: Architecture,
    weights: bytes,
    num_corrections: int,
) -> None:
    """Write the network's files; the outcome comes last and tells that they are whole."""
    store = job.trial_store(trial)
    store.write(WEIGHTS_FILE, weights)
    store.write(ARCHITECTURE_FILE, architecture_to_json(job.space, architecture).encode())
    data = open_data(job)
    outcome = Outcome(
        architecture=architecture.id,
        top1=training.evaluate("test").top1,
        num_test_images=data.num_examples("test"),
        num_validation_images=data.num_examples("validation"),
        weights=checksum(weights),
        num_corrections=num_corrections,
    )
    write_record(store, OUTCOME_FILE, outcome)


def _note_start(job: Job, key: str, phase: str, step: int, place: Place) -> None:
    if place.sync.rank == 0:
        note_start(job.store, key, Start(phase, step, place.sync.num_ranks))


def _trial_search(
    job: Job, trial: Trial, costs: CostTable, supernet: Supernet, data: ImageData, place: Place
) -> Search:
    settings = replace(job.run.search_settings, objective=objective_settings(job, trial, costs))
    limits = job.limits(trial.target)
    return Search(supernet, costs, settings, data, seed=job.run.seed, sync=place.sync, limits=limits)


def _run_search(search: Search, phase: str, key: str, place: Place, curve: Curve) -> None:
    """Make the remaining steps of a search, saving and telling where it is."""
    num_steps = search.settings.num_steps
    speed = Speed(search.settings.batch_size, search.step_index)
    while not search.done:
        record = search.step()
        step = search.step_index
        curve.add(record)
        if place.sync.rank == 0 and (step % search.settings.check_every == 0 or search.done or step <= 1):
            numbers = _numbers(search, record) | {"images_per_second": speed.at(step)}
            place.post(News(key, phase, step, num_steps, numbers))
        if place.saver.due(step) or search.done:
            curve.keep()
            place.saver.save(lambda: to_state(Searching(search.state_dict())), f"search-{step:06d}")


def _numbers(search: Search, record: StepRecord) -> dict[str, float]:
    numbers = {"loss": float(record.loss)}
    if search.settings.train_weights:
        numbers["learning_rate"] = search.weights.learning_rate
    if search.searches:
        cost = f"expected_{search.costs.unit}" if search.costs.unit != "1" else f"expected_{search.costs.name}"
        numbers[cost] = record.expected_cost
        numbers[cost.replace("expected", "wanted")] = search.settings.objective.reference
        numbers |= {"entropy": record.entropy, "skip_share": record.skip_share}
    return numbers
