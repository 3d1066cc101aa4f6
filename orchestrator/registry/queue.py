"""From finished trials to the registry, one after the other, beside the running sweep.

Why here: only the driver's process writes to MLflow, and a network takes seconds to register; the sweep does
not wait for it. Knows the sweep's files, and MLflow only through `registry`.
"""

import contextlib
import math
import shlex
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from orchestrator.data.format import SPLITS, read_manifest
from orchestrator.data.storage import Storage
from orchestrator.plan.addresses import embedded_registry
from orchestrator.plan.machines import versions_of
from orchestrator.plan.news import SHARED_KEY, News
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import known_trials
from orchestrator.plan.trials import CONFIG_FILE, REGISTERED_FILE, Job, Trial
from orchestrator.registry.runs import Folder
from orchestrator.registry.server import RegistryAway
from orchestrator.registry.store import Registry
from supernet.errors import InputError, RunError, where

CURVE_SECONDS = 5.0
FOLDER_FILE = "folder.json"
"""The random id of a sweep's folder."""

Point = tuple[str, dict[str, float], int]
"""Of curves: the trial, or "" for the sweep itself, metrics by name, and the step."""


def open_registry(job: Job, *, create: bool = True) -> Registry:
    """Return the registry of a sweep: the configured server, or the embedded one beside the sweeps."""
    run, root, remake = job.run, job.root, f"this registers what is stored: {again(job)}"
    if run.mlflow.tracking_uri:
        return Registry(run.mlflow.tracking_uri, run.mlflow.experiment, create=create, remake=remake)
    if not root.is_local:
        raise InputError(f"mlflow.tracking_uri: needed with storage {root.uri!r}; SQLite wants a local path")
    return Registry(embedded_registry(root.uri), run.mlflow.experiment, create=create, remake=remake)


def folder_of(job: Job) -> Folder:
    """Return what tells a sweep from others of its name, made once; only whoever holds the sweep may ask.

    Raises:
        RunError: If the file is damaged, or cannot be written.
    """
    store = job.store
    if not store.exists(FOLDER_FILE):
        store.write_json(FOLDER_FILE, {"id": uuid.uuid4().hex})
    place = f"{socket.gethostname()}:{store.uri}" if store.is_local else store.uri
    return Folder(str(store.read_json(FOLDER_FILE).get("id", "")), place, alone=not job.run.mlflow.tracking_uri)


class Registering:
    """Registers results one after the other beside the sweep; only this process writes to MLflow.

    A registry that goes away is waited for as long as the sweep runs, and a little longer.

    Args:
        job: The sweep.
        executor: One thread.
        files: Gives the files of a finished trial by name, in a folder or where they are.
        say: Takes a line for the terminal, told as it stands.
        pause: Seconds between two tries.
        patience: Seconds to go on trying when everything else is done, for all that waits together.
    """

    def __init__(
        self,
        job: Job,
        executor: ThreadPoolExecutor,
        files: Callable[[Job, Trial, Path], Mapping[str, Path]],
        say: Callable[[str], None],
        *,
        pause: float = 5.0,
        patience: float = 60.0,
    ) -> None:
        self.job, self.executor, self.files, self.say = job, executor, files, say
        self.pause, self.patience = pause, patience
        self.registry: Registry  # once it is open, see `ready`
        self.waiting: list[Future[None]] = []  # results
        self.later: list[Future[None]] = []  # what is added to them
        self.keys = {trial.key for trial in known_trials(job)}
        self._point: Future[None] | None = None
        self._points: list[Point] = []
        self._last_point = 0.0
        self._stopped, self._give_up_at = threading.Event(), math.inf
        self._away: RegistryAway | None = None  # the last word of a registry that does not answer

    def __enter__(self) -> "Registering":
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for nothing any more."""
        self._stopped.set()

    def ready(self, results: Mapping[str, TrialResult]) -> list[str]:
        """Open the registry and the sweep's run in it, so that whatever is wrong with it is known before the work.

        Returns:
            Keys of the given results that it does not hold, or not whole.

        Raises:
            InputError, RunError: If it is not there, cannot be written to, is of another version, or has a sweep of
                this name from another folder.
        """

        def opened() -> list[str]:
            self.registry = open_registry(self.job)
            name, config, targets = self.job.run.name, dict(self.job.config), self.job.targets
            self.registry.open_sweep(name, config, folder=folder_of(self.job), targets=targets)
            if self.job.data_root:
                images = read_manifest(Storage(self.job.data_root))
                counts = {split: sum(images.class_counts[split]) for split in SPLITS}
                self.registry.link_data(name, images.fingerprint, counts)
            return self.registry.lacks(results.values())

        return self.executor.submit(opened).result()

    def curves(self, news: Mapping[str, News]) -> None:
        """Add the figures of running work to curves, one point every `CURVE_SECONDS` at most."""
        now = time.monotonic()
        busy = self._point is not None and not self._point.done()
        if busy or self._away or now - self._last_point < CURVE_SECONDS:
            return
        known, self._points = self._points, list(points(news, self.keys))
        if fresh := [point for point in self._points if point not in known]:  # what has no figures delays none that has
            self._last_point = now
            self._point = self.executor.submit(self._add_points, fresh)

    def _add_points(self, found: Sequence[Point]) -> None:
        with contextlib.suppress(RunError):  # the next network tells of it; a point of a curve is not worth a wait
            for trial, metrics, step in found:
                self.registry.log_progress(self.job.run.name, trial, metrics, step)

    def add(self, trial: Trial, result: TrialResult) -> None:
        """Register a result, or record its failure, when its turn comes."""
        self.waiting.append(self.executor.submit(self._patiently, self._register, trial, result))

    def add_latencies(self, trial: str, latencies: Mapping[str, float]) -> None:
        """Give a trial's registered network its milliseconds by target, when their turn comes."""
        act, name = self.registry.add_latencies, self.job.run.name
        self.later.append(self.executor.submit(self._patiently, act, name, trial, latencies))

    def _patiently(self, act: Callable[..., None], *arguments: object) -> None:
        while True:
            if self._away and (self._stopped.is_set() or time.monotonic() > self._give_up_at):
                raise self._away  # given up for all: a try may take minutes
            try:
                act(*arguments)
            except RegistryAway as error:
                if not self._away:
                    self.say(f"{error}; finished networks are stored and wait for it")
                self._away = error
                self._stopped.wait(self.pause)
            else:
                if self._away:
                    self.say("the registry is back")
                self._away = None
                return

    def _register(self, trial: Trial, result: TrialResult) -> None:
        if not result.finished:
            self.registry.record_failure(result)
            return
        try:
            with tempfile.TemporaryDirectory(prefix="onepath-register-") as folder:
                files, versions = self.files(self.job, trial, Path(folder)), versions_of(self.job, trial.target)
                uri = self.registry.register(result, files, versions)
        except OSError as error:  # of the storage, or of a full disk here
            raise RunError(f"trial {trial.key}: its files could not be read or copied ({error})") from error
        except (InputError, RunError):
            raise
        except Exception as error:  # what exporting once more comes to must keep no other network from being registered
            raise RunError(f"trial {trial.key}: {where(error)}") from error
        self.job.trial_store(trial).write_json(REGISTERED_FILE, {"model_uri": uri})

    def finish(self, kept: Callable[[], Mapping[str, bytes]] = dict) -> str:
        """Wait for all and close the sweep's run.

        Args:
            kept: Gives files to keep in that run, by the path there, when all networks are registered.

        Returns:
            What could not be registered and why, with the command that registers what is stored; empty if all is.
        """
        self._give_up_at = time.monotonic() + self.patience
        lost, unclosed = self._errors(self.waiting), self._errors(self.later)
        close, name = self.registry.close_sweep, self.job.run.name
        unclosed += self._errors([self.executor.submit(self._patiently, close, name, kept())])
        if not (lost or unclosed):
            return ""
        what = f"{len(lost)} of {len(self.waiting)} results" if lost else "the end of the sweep"
        return (
            f"everything is stored, but {what} could not be registered ({[*lost, *unclosed][0]}); "
            f"this registers what is stored and searches nothing again: {again(self.job)}"
        )

    def _errors(self, futures: Sequence[Future[None]]) -> list[str]:
        """Wait for all; return what kept them from being registered."""
        errors = []
        for future in futures:
            try:
                future.result()
            except (InputError, RunError) as error:
                errors.append(str(error))
        return errors


def again(job: Job) -> str:
    """Return the command that continues a sweep from what is stored."""
    if not job.root.is_local:
        return f"the same `onepath sweep ... --name {job.run.name} --storage {job.root.uri}`"
    return f"onepath sweep {shlex.quote(f'{job.store.uri}/{CONFIG_FILE}')} --storage {shlex.quote(job.root.uri)}"


def points(news: Mapping[str, News], keys: Collection[str]) -> Iterator[Point]:
    """Yield what has figures, those of several ranks at once.

    Work that all trials share belongs to no trial: its curves are the sweep's. Those of ranks are named so that MLflow
    shows them as system metrics. Other work, such as a baseline's, has none.

    Args:
        news: By subject.
        keys: Of the sweep's trials.
    """
    found: dict[tuple[str, int], dict[str, float]] = {}
    for item in news.values():
        prefix = f"{item.phase}_" if item.rank is None else f"system/rank{item.rank}/"
        if item.numbers and (item.key in keys or item.key == SHARED_KEY):
            metrics = found.setdefault((item.key if item.key in keys else "", item.step), {})
            metrics.update({f"{prefix}{name}": value for name, value in item.numbers.items()})
    for (trial, step), metrics in found.items():
        yield trial, metrics, step
