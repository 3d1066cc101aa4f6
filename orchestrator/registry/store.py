"""The results of a sweep in MLflow: one run per trial, one registered version per network, and the way back out.

Why here: MLflow is the one place a network leaves the product by, and this is how everybody else sees it. It must not
know ray, nor how a trial came to its result.

Only the driver of a sweep writes. Everything is found again by tag (`onepath.sweep`, `onepath.trial`) before it is
made, and a trial's version is written last, with all its tags in one transaction: whoever is killed and repeats
finds either the version or the pieces to make it from.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from orchestrator.plan.result import TrialResult, told
from orchestrator.registry.connection import Connection
from orchestrator.registry.embedded import REMAKE, artifacts_beside, settle
from orchestrator.registry.model import CODE, FILES, NAMES, checksum, log_network
from orchestrator.registry.runs import Runs
from orchestrator.registry.values import TRIAL_TAG, best_within, from_tags, to_tags
from orchestrator.registry.versions import Versions
from supernet.errors import InputError, RunError


class Registry:
    """A tracking store and model registry, seen as sweeps and trials.

    Args:
        tracking_uri: `sqlite:////abs/path/mlflow.db`, which keeps its artifacts in the folder `artifacts` beside it, or
            the http address of a tracking server.
        experiment: Name of the MLflow experiment.
        create: False refuses an SQLite file that is not there, for commands that only read.
        remake: What to tell whoever finds it lost or damaged: how to register again what is stored.

    Raises:
        InputError: If the store is of a kind MLflow no longer takes, or absent while `create` is False.
        RunError: If the store cannot be opened, or is a server of another version.
    """

    def __init__(
        self, tracking_uri: str, experiment: str = "onepath", *, create: bool = True, remake: str = REMAKE
    ) -> None:
        scheme = urlparse(tracking_uri).scheme
        if scheme in ("", "file"):
            raise InputError(
                f"tracking_uri {tracking_uri!r}: MLflow takes no plain folder; use sqlite:////abs/path/mlflow.db "
                "or the http address of a server"
            )
        self.tracking_uri, artifacts = tracking_uri, None
        if scheme == "sqlite":
            database = Path(tracking_uri.removeprefix("sqlite:///"))
            self._scratch = tempfile.TemporaryDirectory(prefix="onepath-registry-")
            settled = settle(database, experiment, Path(self._scratch.name), create=create, remake=remake)
            self.tracking_uri, artifacts = f"sqlite:///{settled}", artifacts_beside(database)
        connection = Connection(self.tracking_uri)
        self._mlflow, self._client, self._calls = connection.mlflow, connection.client, connection.calls
        with self._calls():
            found = self._client.get_experiment_by_name(experiment)
            # The first call to a new SQLite file creates the schema; doing so from several processes at once fails.
            root = None if artifacts is None else artifacts.as_uri()
            id = found.experiment_id if found else self._client.create_experiment(experiment, artifact_location=root)
        self.experiment_id = str(id)
        self._runs = Runs(self._mlflow, self._client, self.experiment_id)
        self._versions = Versions(connection, self.experiment_id, artifacts, remake)

    def open_sweep(self, sweep: str, config: Mapping[str, Any]) -> str:
        """Return the id of the sweep's run, made on the first call and found again after.

        Args:
            sweep: Name of the sweep.
            config: Its configuration as JSON-ready values, kept as `config.json`.

        Raises:
            InputError: If MLflow would not take the name.
        """
        with self._calls():
            return self._runs.open_sweep(sweep, config)

    def close_sweep(self, sweep: str) -> None:
        """Mark the sweep's run as finished."""
        with self._calls():
            self._client.set_terminated(self._runs.of_sweep(sweep).info.run_id)

    def log_progress(self, sweep: str, trial: str, metrics: Mapping[str, float], step: int) -> None:
        """Add points to the curves of a trial, or of the sweep (""); steps that are gone through again are left out."""
        with self._calls():
            self._runs.progress(sweep, trial, metrics, step)

    def record_failure(self, result: TrialResult) -> None:
        """Keep a failed trial as a failed run with its reason."""
        with self._calls():
            run_id = self._runs.of_trial(result.sweep, result.trial).info.run_id
            self._client.set_tag(run_id, "onepath.reason", result.reason[:5000])
            self._client.set_terminated(run_id, "FAILED")

    def register(self, result: TrialResult, files: Mapping[str, Path]) -> str:
        """Make the trial's network a version of the registered model `<sweep>-<target>`, exactly once.

        A second call with the same result returns the same version; one with another result replaces it, and so does
        one whose files here are no longer what was registered.

        Args:
            result: A trial that is done.
            files: The network's files by name: those of `orchestrator.registry.model.NAMES`.

        Returns:
            `models:/<sweep>-<target>/<version>`.

        Raises:
            InputError: If the trial is not done or the sweep was not opened.
            RunError: If MLflow fails, or the delivered file is not the one that the result is of.
        """
        if not result.done or None in (result.top1, result.validation_top1, result.cost):
            raise InputError(f"trial {result.trial!r}: only one that is done, with accuracies and cost, is registered")
        if result.file and checksum(files[result.file]) != result.file_sha256:
            raise RunError(f"{files[result.file]}: not the file that was judged and measured; its checksum differs")
        name = f"{result.sweep}-{result.target}"
        with self._calls():
            self._runs.of_sweep(result.sweep)
            old = self._versions.of(result.sweep, result.trial)
            if old and self._versions.kept(old[0], result):
                newest, *old = old
            else:
                run = self._runs.for_result(result)
                with self._mlflow.start_run(run_id=run.info.run_id, log_system_metrics=False):
                    model_id = log_network(self._mlflow, result, files)
                self._runs.judge(run.info.run_id, result, model_id)
                sent = {name: files[name] for name in NAMES} | {CODE.name: CODE}
                newest = self._versions.create(name, model_id, run.info.run_id, to_tags(result), sent)
            self._versions.replace(newest, old, result)
            self._client.set_terminated(newest.run_id)
            return f"models:/{newest.name}/{newest.version}"

    def results(self, sweep: str) -> list[TrialResult]:
        """Return the registered results of a sweep, read back from MLflow, ordered by target and latency.

        Raises:
            InputError: If there is no such sweep.
        """
        with self._calls():
            self._runs.of_sweep(sweep)
            newest = {version.tags[TRIAL_TAG]: version for version in reversed(self._versions.of(sweep, None))}
        found = [from_tags(version.tags, f"models:/{version.name}/{version.version}") for version in newest.values()]
        return sorted(found, key=lambda result: (result.target, result.cost, result.trial))

    def lacks(self, results: Iterable[TrialResult]) -> list[str]:
        """Return the trials of those results that are not registered here under their `model_uri`, whole."""
        with self._calls():
            return [result.trial for result in results if not self._holds(result)]

    def _holds(self, result: TrialResult) -> bool:
        found = self._versions.of(result.sweep, result.trial)
        names = [f"models:/{version.name}/{version.version}" for version in found]
        return names == [result.model_uri] and self._versions.kept(found[0], result)

    def pull(self, sweep: str, target: str, max_cost: float, out_dir: str | Path) -> dict[str, Any]:
        """Copy the network of a target that was best in validation among those fast enough into a folder.

        The folder then holds `model.pt2` (torch.export), `model.onnx`, `preprocessing.json`, `image_classifier.py` that
        runs them, `architecture.json`, `weights.safetensors` and `model.json` with the numbers; files of these names
        are replaced.

        Args:
            sweep: Name of the sweep.
            target: Name of the target.
            max_cost: Highest measured latency in milliseconds, or highest count, allowed.
            out_dir: The folder; made if it is not there.

        Returns:
            The numbers, as in `model.json`.

        Raises:
            InputError: If the sweep, the target or such a network does not exist.
        """
        chosen = best_within(self.results(sweep), target, max_cost)
        out = Path(out_dir).expanduser()
        if out.exists() and not out.is_dir():
            raise InputError(f"{out}: not a folder; name another one to write to")
        out.parent.mkdir(parents=True, exist_ok=True)
        numbers = told(chosen) | {"files": [*FILES, "model.json"]}
        with self._calls(), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            fetched = self._versions.fetch(chosen.model_uri, Path(folder))
            ready = Path(folder) / "ready"
            ready.mkdir()
            for name, place in FILES.items():
                os.replace(fetched / place, ready / name)
            (ready / "model.json").write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n")
            # Everything is here and whole. The numbers come last: a folder with them is of one network.
            out.mkdir(exist_ok=True)
            (out / "model.json").unlink(missing_ok=True)
            for name in (*FILES, "model.json"):
                os.replace(ready / name, out / name)
        return numbers
