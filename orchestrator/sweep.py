"""A sweep from its configuration to its front: Ray Tune over the trials that are not finished yet.

Why here: the order of things (data, tables, warm-up, trials, registration, report) and what a restart may
skip. It decides by what is stored, never by what Ray remembers.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from latency.tables.file import table_path
from orchestrator.cluster.lease import held
from orchestrator.cluster.leftovers import leftovers_freed
from orchestrator.cluster.room import jobs_at_once, room_notes, runs_here
from orchestrator.cluster.session import connect, living_nodes, require_shared
from orchestrator.data.build import build
from orchestrator.data.format import MANIFEST_NAME, read_manifest
from orchestrator.data.sources.registry import can_have_changed
from orchestrator.data.storage import Storage, require_space
from orchestrator.plan.baselines import missing_baselines, stored_baselines
from orchestrator.plan.check import check_run, converted, is_converted, require_here, resolved
from orchestrator.plan.config import RunConfig
from orchestrator.plan.continued import check_continued, stored_config
from orchestrator.plan.cross import CROSS_KEY, missing_columns, stored_columns
from orchestrator.plan.forecast import forecast_seconds, storage_bytes
from orchestrator.plan.images import require_own_split, require_same_images
from orchestrator.plan.ledgers import KeptLedger, kept_ledger
from orchestrator.plan.news import SHARED_KEY, News
from orchestrator.plan.objectives import limited_by_nothing, require_searchable
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import finished_results, known_trials, num_left, stored_results
from orchestrator.plan.trials import CONFIG_FILE, TABLES_FOLDER, WARMUP_FILE, Job, Trial
from orchestrator.registry.queue import Registering
from orchestrator.report.cross import latencies_on
from orchestrator.report.end import SweepEnd, describe
from orchestrator.report.live import LiveView
from orchestrator.report.written import write_report
from supernet.cost import CostTable

if TYPE_CHECKING:
    from orchestrator.trial.tables import Tables


def prepare(config: RunConfig, console: Console) -> Job:
    """Prepare the images and fix the number of classes; start nothing, and leave the sweep's folder as it is.

    Raises:
        InputError: If the images cannot be prepared, or the storage holds another sweep of this name.
    """
    require_shared(config.storage)
    data_root, num_classes = _prepare_data(config, console)
    plain = resolved(config)
    plain["space"] = {**plain["space"], "num_classes": num_classes}
    job = Job(plain, data_root)
    check_run(plain, config.name)
    _changes(job)
    return job


def _changes(job: Job) -> list[str]:
    """Return how the configuration differs from the stored one, which is refused where something has begun."""
    return check_continued(stored_config(job.store), job) if job.store.exists(CONFIG_FILE) else []


def _prepare_data(config: RunConfig, console: Console) -> tuple[str, int]:
    """Return where the shards are and their number of classes; converts the source once."""
    source = config.data.source
    given = Storage(source)
    if given.exists(MANIFEST_NAME):
        manifest = read_manifest(given)
        require_own_split(config, manifest)
        return given.uri, manifest.num_classes
    store = converted(config)
    if is_converted(config) and not can_have_changed(source):
        console.print(f"[dim]data[/dim] {escape(store.uri)}, made of {escape(source)} before", soft_wrap=True)
        return store.uri, read_manifest(store).num_classes
    if not store.exists(MANIFEST_NAME):
        console.print(f"[dim]data[/dim] converting {escape(source)} to {escape(store.uri)}", soft_wrap=True)
    manifest = build(
        source,
        store.uri,
        validation_fraction=config.data.validation_fraction,
        test_fraction=config.data.test_fraction,
        seed=config.seed,
    )
    return store.uri, manifest.num_classes


def run_sweep(job: Job, console: Console) -> SweepEnd:
    """Run what is left of a sweep and register every finished network.

    Raises:
        InputError: If this machine is alone and cannot measure a target of a trial that is left, what has begun has
            other settings or other images, or no trial that is left can be searched for.
        RunError: If the registry is away before anything starts, or the cluster or the shared warm-up fails; failed
            trials are results with a reason.
    """
    from orchestrator.trial.files import files_of

    left, rank_devices = num_left(job, finished_results(job)), job.run.workers.gpus or job.run.workers.cpus
    if left and not os.environ.get("RAY_ADDRESS"):
        require_here(job.target(name) for name in left)
    if left:
        require_space(job.store, storage_bytes(job.run))
    say = partial(console.print, highlight=False, soft_wrap=True)
    with (
        held(job.store, job.config["name"], say),
        _registrar() as registrar,
        Registering(job, registrar, files_of, lambda text: say(escape(text))) as registering,
        kept_ledger(job.store, rank_devices, lambda: forecast_seconds(job.run) if left else {}) as ledger,
    ):
        for line in _changes(job):  # by whoever holds the sweep alone: others go by the stored one
            say(f"changed {line}", markup=False)
        require_same_images(job)
        job.store.write_json(CONFIG_FILE, dict(job.config))
        # Again: the driver that held the sweep until now has gone on. One whose file is damaged is made again.
        before = finished_results(job)
        lacking = registering.ready(before)
        for trial in known_trials(job):
            if trial.key in lacking:
                registering.add(trial, before[trial.key])
        left = num_left(job, before)
        failed: dict[str, TrialResult] = {}
        reasons: dict[str, str] = {}
        done = list(before.values())
        crossed = [*done, *stored_baselines(job, done)]
        idle = not (left or missing_columns(job, crossed) or missing_baselines(job, done))
        if not idle:
            failed, reasons = _run_trials(job, left, len(before), registering, ledger, console)
        ledger.idle()
        columns = stored_columns(job)
        for key, result in stored_results(job).items():
            if row := latencies_on(columns, result):
                registering.add_latencies(key, row)

        def report() -> dict[str, bytes]:
            ledger.idle()
            return _kept_files(job, _results(job, failed))

        unregistered = registering.finish(report)
    return SweepEnd(job, _results(job, failed), idle, reasons, unregistered)


def _results(job: Job, failed: Mapping[str, TrialResult]) -> list[TrialResult]:
    """Return the result of each trial: the stored one of a finished trial, else why it failed now, or is missing."""
    stored = stored_results(job)
    found = {**failed, **{key: result for key, result in stored.items() if result.finished or key not in failed}}
    missing = {"status": "failed", "reason": "not finished"}
    return [found.get(trial.key) or job.result(trial, **missing) for trial in known_trials(job)]


def _kept_files(job: Job, results: Sequence[TrialResult]) -> dict[str, bytes]:
    """Write the report, and return what the registry keeps of the sweep: it, and the tables measured for it."""
    tables = job.root.child(TABLES_FOLDER)
    names = [table_path("", job.space, job.target(name)).name for name in job.measured]
    measured = {f"{TABLES_FOLDER}/{name}": tables.read(name) for name in names if tables.exists(name)}
    return measured | write_report(job, results)


@contextlib.contextmanager
def _registrar() -> Iterator[ThreadPoolExecutor]:
    """Give the one thread that registers; a sweep that is stopped waits for what it does, not for what it would do."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="registry")
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _run_trials(
    job: Job,
    left: Mapping[str, int],
    done: int,
    registering: Registering,
    ledger: KeptLedger,
    console: Console,
) -> tuple[dict[str, TrialResult], dict[str, str]]:
    """Run what is left on Ray, so many trials by target.

    Returns:
        The failed ones by key, and why a target has no cost table.
    """
    run = job.run
    needed = int(run.workers.min * run.workers.cpus + 0.999)
    with connect(job.measured, min_cpus=needed) as connection:
        from orchestrator.cluster.progress import reader, start_board
        from orchestrator.trial.baselines import run_baselines
        from orchestrator.trial.crossing import fill_cross_table
        from orchestrator.trial.tables import Tables
        from orchestrator.trial.tuning import tune_trials

        board = start_board()
        freed = contextlib.nullcontext(0) if connection.embedded else leftovers_freed(job.store, connection.session)
        total = done + sum(left.values())

        def seen(news: Mapping[str, News]) -> None:
            registering.curves(news)
            ledger.look(news)

        with LiveView(console, reader(board), total, done, seen) as view, freed as num_freed:
            view.say(f"Ray is up ({'on this machine' if connection.embedded else connection.address})")
            nodes = living_nodes()
            for note in room_notes(nodes, run.workers, run.max_concurrent, embedded=connection.embedded):
                view.say(f"[yellow]{escape(note)}[/yellow]")
            if num_freed:
                view.say(f"freed {num_freed} placement groups and guards that a killed driver of this sweep had left")
            here, tables = runs_here(run.workers, embedded=connection.embedded), Tables(job, view)
            present = tables.at_hand(left)
            absent = [name for name in left if name not in present]
            tables.ask(present)
            tables.wait()  # before anything else keeps the machine busy
            failed = {}
            if left:
                _warm_up(job, tables.ready(patient=True), view, here=here)
                for name in absent:
                    view.say(f"[yellow]{name}: no node measures it yet; its trials wait for one[/yellow]")
                tables.ask(absent)
                failed = _run_on_tune(job, tables, registering, view, here=here)
            run_baselines(job, partial(tune_trials, job, here=here), tables, partial(_at_once, job), view)
            fill_cross_table(job, view.say, embedded=connection.embedded)
            view.forget(CROSS_KEY)
            return failed, tables.reasons


def _warm_up(job: Job, costs: Mapping[str, CostTable], view: LiveView, *, here: bool) -> None:
    """Train the shared supernet and fill its pool, unless that is done; refuse to where no trial could use it."""
    from orchestrator.trial.pooling import pool_is_whole
    from orchestrator.trial.records import is_intact

    trained = is_intact(job.store, WARMUP_FILE)
    if trained and pool_is_whole(job):
        return
    if not trained:
        for key, reason in require_searchable(job, costs).items():
            view.say(f"[yellow]{key} will fail: {escape(reason)}[/yellow]")
        for key, reason in limited_by_nothing(job, costs).items():
            view.say(f"[yellow]{key}: {escape(reason)}[/yellow]")
    from orchestrator.cluster.progress import poster
    from orchestrator.trial.search_job import warm_up

    if not here:
        poster()(News(SHARED_KEY, "workers", waits_for=job.run.workers.wanted))
    warm_up(job, here=here)
    view.forget(SHARED_KEY)
    done = "its pool is whole again" if trained else f"warmed up over {job.run.warmup.num_steps} steps"
    view.say(f"supernet: {done}")


def _at_once(job: Job) -> int:
    """Return how many trials may run now."""
    return min(job.run.max_concurrent, jobs_at_once(living_nodes(), job.run.workers))


def _run_on_tune(
    job: Job, tables: "Tables", registering: Registering, view: LiveView, *, here: bool
) -> dict[str, TrialResult]:
    """Run what is left and hand the results on; return the failed ones by key.

    A trial that has come as far as a measurement is tried once more after the others: a device that slowed down, or
    was disturbed, may be as before by then, and all that it costs is a measurement.
    """
    from orchestrator.trial.files import awaits_measurement
    from orchestrator.trial.placing import NextTrial, listed, trials_left
    from orchestrator.trial.tuning import Take, tune_trials
    from orchestrator.trial.turns import Turns

    failed: dict[str, TrialResult] = {}
    again: list[Trial] = []

    def run(next_trial: NextTrial, take: Take) -> None:
        def expected(costs: Mapping[str, CostTable]) -> Trial | None:
            trial = next_trial(costs)
            if trial:
                registering.keys.add(trial.key)
                view.expect(trial.key)
            return trial

        def ended(trial: Trial, result: TrialResult) -> None:
            turns.ended(trial.key)
            take(trial, result)

        turns = Turns(expected, tables, partial(_at_once, job))
        tune_trials(job, turns, ended, here=here)

    def take(trial: Trial, result: TrialResult) -> None:
        if not result.finished:
            failed[trial.key] = result
        registering.add(trial, result)
        view.finished(trial.key, describe(result))

    def take_or_keep(trial: Trial, result: TrialResult) -> None:
        if result.finished or not awaits_measurement(job, trial) or not tables.at_hand([trial.target]):
            take(trial, result)
            return
        again.append(trial)
        view.forget(trial.key)
        view.say(f"{describe(result)}; tried once more after the others")

    run(trials_left(job, lambda text: view.say(escape(text))), take_or_keep)
    if again:
        run(listed(again), take)
    done = finished_results(job)
    for trial in known_trials(job):
        if trial.target in tables.reasons and trial.key not in (*done, *failed):
            take(trial, job.result(trial, status="failed", reason=tables.reasons[trial.target]))
    return failed
