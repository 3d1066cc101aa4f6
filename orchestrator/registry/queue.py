"""From finished trials to the registry, one after the other, beside the running sweep.

Why here: only the driver's process writes to MLflow, and a network takes seconds to register; the sweep does
not wait for it. Knows the sweep's files, and MLflow only through `registry`.
"""

import json
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from orchestrator.plan.news import News
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import (
    ARCHITECTURE_FILE,
    ONNX_FILE,
    REGISTERED_FILE,
    WEIGHTS_FILE,
    Job,
    Trial,
    plan_trials,
)
from supernet.errors import InputError
from supernet.network import build_network
from supernet.space import architecture_from_json

CURVE_SECONDS = 5.0


def open_registry(job: Job, *, create: bool = True) -> Any:
    """Return the registry of a sweep: the configured server, or the embedded one beside the sweeps."""
    from orchestrator.registry.store import Registry

    run, root = job.run, job.root
    if run.mlflow.tracking_uri:
        return Registry(run.mlflow.tracking_uri, run.mlflow.experiment, create=create)
    if not root.is_local:
        raise InputError(f"mlflow.tracking_uri: needed with storage {root.uri!r}; SQLite wants a local path")
    return Registry(f"sqlite:///{Path(root.uri) / 'mlflow.db'}", run.mlflow.experiment, create=create)


class Registering:
    """Registers results one after the other beside the sweep; only this process writes to MLflow."""

    def __init__(self, job: Job, executor: ThreadPoolExecutor) -> None:
        self.job, self.executor = job, executor
        self.registry: Future[Any] = executor.submit(self._open)
        self.waiting: list[Future[None]] = []
        self.keys = {trial.key for trial in plan_trials(job.run)}
        self._last_point = 0.0

    def _open(self) -> Any:
        registry = open_registry(self.job)
        registry.open_sweep(self.job.config["name"], dict(self.job.config))
        return registry

    def curves(self, news: Mapping[str, News]) -> None:
        """Add the figures of running work to curves, one point every `CURVE_SECONDS` at most."""
        now = time.monotonic()
        if not self.registry.done() or now - self._last_point < CURVE_SECONDS:
            return
        self._last_point = now
        for trial, metrics, step in points(news, self.keys):
            self.executor.submit(self.registry.result().log_progress, self.job.config["name"], trial, metrics, step)

    def add(self, trial: Trial, result: TrialResult) -> None:
        """Register a result, or record its failure, when its turn comes."""
        self.waiting.append(self.executor.submit(self._register, trial, result))

    def _register(self, trial: Trial, result: TrialResult) -> None:
        registry = self.registry.result()
        if not result.done:
            registry.record_failure(result)
            return
        uri = register_network(self.job, trial, result, registry)
        self.job.trial_store(trial).write_json(REGISTERED_FILE, {"model_uri": uri})

    def finish(self) -> None:
        """Wait for all, raise what failed, and close the sweep's run."""
        for future in self.waiting:
            future.result()
        self.registry.result().close_sweep(self.job.config["name"])


def points(news: Mapping[str, News], keys: Collection[str]) -> Iterator[tuple[str, dict[str, float], int]]:
    """Yield (trial, or "" for the sweep itself, metrics, step) of what has figures.

    Work that all trials share, such as the warm-up, belongs to no trial: its curves are the sweep's.

    Args:
        news: By key.
        keys: Of the sweep's trials.
    """
    for key, item in news.items():
        metrics = {f"{item.phase}_{name}": value for name, value in item.numbers.items()}
        if metrics:
            yield key if key in keys else "", metrics, item.step


def register_network(job: Job, trial: Trial, result: TrialResult, registry: Any) -> str:
    """Register the stored network of a finished trial and return its URI."""
    store = job.trial_store(trial)
    text = store.read(ARCHITECTURE_FILE).decode()
    space, architecture = architecture_from_json(text, ARCHITECTURE_FILE)
    with tempfile.TemporaryDirectory(prefix="onepath-register-") as folder:
        weights = store.fetch(WEIGHTS_FILE, Path(folder))
        network = build_network(space, architecture)
        network.load_state_dict(load_file(weights))
        uri: str = registry.register(
            result,
            network.eval(),
            torch.zeros(2, *space.input_size),
            json.loads(text),
            store.fetch(ONNX_FILE, Path(folder)),
            weights,
        )
    return uri
