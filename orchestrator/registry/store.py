"""The results of a sweep in MLflow: one run per trial, one registered version per network, and the way back out.

Why here: MLflow is the one place a network leaves the product by, and this is the only file that imports it (when a
`Registry` is made, so importing this module is cheap). It must not know ray, nor how a trial came to its result.

Only the driver of a sweep writes. Everything is found again by tag (`onepath.sweep`, `onepath.trial`) before it is
made, and a trial's version is written last, with all its tags in one transaction: whoever is killed and repeats
finds either the version or the pieces to make it from.
"""

import contextlib
import dataclasses
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from torch import Tensor, nn

from orchestrator.plan.result import TrialResult, told
from orchestrator.registry.model import FILES, files_beside, log_network
from orchestrator.registry.runs import Runs
from orchestrator.registry.values import SWEEP_TAG, TRIAL_TAG, best_within, from_tags, rank, to_tags
from supernet.errors import InputError, RunError

BEST_ALIAS = "best"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
}


class Registry:
    """A tracking store and model registry, seen as sweeps and trials.

    Args:
        tracking_uri: `sqlite:////abs/path/mlflow.db`, or the http address of a tracking server.
        artifact_root: Folder or URI for model files; None leaves it to a tracking server.
        experiment: Name of the MLflow experiment.
        create: False refuses an SQLite file that is not there, for commands that only read.

    Raises:
        InputError: If the store is of a kind MLflow no longer takes, or absent while `create` is False.
        RunError: If the store cannot be opened.
    """

    def __init__(
        self, tracking_uri: str, artifact_root: str | Path | None, experiment: str = "onepath", *, create: bool = True
    ) -> None:
        scheme = urlparse(tracking_uri).scheme
        if scheme in ("", "file"):
            raise InputError(
                f"tracking_uri {tracking_uri!r}: MLflow takes no plain folder; use sqlite:////abs/path/mlflow.db "
                "or the http address of a server"
            )
        if scheme == "sqlite":
            file = Path(tracking_uri.removeprefix("sqlite:///"))
            if not create and not file.exists():
                raise InputError(f"{file}: no registry here; run a sweep first, or name the folder it wrote to")
            file.parent.mkdir(parents=True, exist_ok=True)
        self.tracking_uri = tracking_uri
        self._mlflow = _quiet_mlflow()
        root = None if artifact_root is None else str(artifact_root)
        if root is not None and "://" not in root:
            root = Path(root).expanduser().resolve().as_uri()
        with self._calls():
            self._client = self._mlflow.MlflowClient(tracking_uri)
            found = self._client.get_experiment_by_name(experiment)
            # The first call to a new SQLite file creates the schema; doing so from several processes at once fails.
            self.experiment_id: str = (
                found.experiment_id if found else self._client.create_experiment(experiment, artifact_location=root)
            )
        self._runs = Runs(self._mlflow, self._client, self.experiment_id)

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

    def register(
        self,
        result: TrialResult,
        network: nn.Module,
        example: Tensor,
        architecture: Mapping[str, Any],
        onnx_path: str | Path,
        weights_path: str | Path,
    ) -> str:
        """Make the trial's network a version of the registered model `<sweep>-<target>`, exactly once.

        A second call with the same result returns the same version; one with another result replaces it.

        Args:
            result: A trial that is done.
            network: The standalone network; a copy is exported, on the CPU and in evaluation mode.
            example: Input of shape (n, channels, height, width); only the shape of an image counts.
            architecture: The architecture as JSON-ready values.
            onnx_path: The network as ONNX, in one file.
            weights_path: Its weights as safetensors.

        Returns:
            `models:/<sweep>-<target>/<version>`.

        Raises:
            InputError: If the trial is not done or the sweep was not opened.
            RunError: If MLflow fails.
        """
        if not result.done or None in (result.top1, result.validation_top1, result.cost):
            raise InputError(f"trial {result.trial!r}: only one that is done, with accuracies and cost, is registered")
        name = f"{result.sweep}-{result.target}"
        tags = to_tags(result)
        with self._calls():
            self._runs.of_sweep(result.sweep)
            old = self._versions(result.sweep, result.trial)
            if old and from_tags(old[0].tags, "") == dataclasses.replace(result, model_uri="", reason=""):
                newest, *rest = old
            else:
                run = self._runs.for_result(result)
                with tempfile.TemporaryDirectory() as folder:
                    beside = files_beside(Path(folder), architecture, onnx_path, weights_path)
                    with self._mlflow.start_run(run_id=run.info.run_id, log_system_metrics=False):
                        model_id = log_network(self._mlflow, result, network, example, beside)
                newest, rest = self._create_version(name, model_id, run.info.run_id, tags), old
            for version in rest:
                self._client.delete_model_version(version.name, version.version)
            self._delete_networks(result, keep=newest.source.split("/")[-1])
            self._client.set_terminated(newest.run_id)
            self._set_best(result.sweep, name)
            return f"models:/{newest.name}/{newest.version}"

    def results(self, sweep: str) -> list[TrialResult]:
        """Return the registered results of a sweep, read back from MLflow, ordered by target and latency.

        Raises:
            InputError: If there is no such sweep.
        """
        with self._calls():
            self._runs.of_sweep(sweep)
            newest = {version.tags[TRIAL_TAG]: version for version in reversed(self._versions(sweep, None))}
        found = [from_tags(version.tags, f"models:/{version.name}/{version.version}") for version in newest.values()]
        return sorted(found, key=lambda result: (result.target, result.cost, result.trial))

    def pull(self, sweep: str, target: str, max_cost: float, out_dir: str | Path) -> dict[str, Any]:
        """Copy the network of a target that was best in validation among those fast enough into a folder.

        The folder then holds `model.pt2` (torch.export), `model.onnx`, `architecture.json`, `weights.safetensors`
        and `model.json` with the numbers; files of these names are replaced.

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
        out.mkdir(parents=True, exist_ok=True)
        numbers = told(chosen) | {"files": [*FILES, "model.json"]}
        with self._calls(), tempfile.TemporaryDirectory(dir=out) as folder:
            local = Path(
                self._mlflow.artifacts.download_artifacts(
                    artifact_uri=chosen.model_uri, dst_path=folder, tracking_uri=self.tracking_uri
                )
            )
            (local / "model.json").write_text(json.dumps(numbers, indent=2) + "\n")
            for name, place in FILES.items():
                os.replace(local / place, out / name)
            os.replace(local / "model.json", out / "model.json")
        return numbers

    def _versions(self, sweep: str, trial: str | None) -> list[Any]:
        """Return the versions of a sweep, or of one trial, newest first."""
        where = f"tags.`{SWEEP_TAG}` = '{sweep}'" + ("" if trial is None else f" and tags.`{TRIAL_TAG}` = '{trial}'")
        found = list(self._client.search_model_versions(where, max_results=10000))
        return sorted(found, key=lambda version: (version.creation_timestamp, int(version.version)), reverse=True)

    def _delete_networks(self, result: TrialResult, keep: str) -> None:
        """Remove what earlier attempts logged for the trial, files included if they are local."""
        where = f"tags.`{SWEEP_TAG}` = '{result.sweep}' and tags.`{TRIAL_TAG}` = '{result.trial}'"
        for model in self._client.search_logged_models([self.experiment_id], where):
            place = urlparse(model.artifact_location)
            folder = Path(unquote(place.path)).parent
            if model.model_id != keep:
                if place.scheme == "file" and folder.name == model.model_id:
                    shutil.rmtree(folder, ignore_errors=True)
                self._client.delete_logged_model(model.model_id)

    def _create_version(self, name: str, model_id: str, run_id: str, tags: Mapping[str, str]) -> Any:
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name, tags={SWEEP_TAG: tags[SWEEP_TAG], "target": tags["target"]})
        model = self._client.get_logged_model(model_id)
        extra = {"onnx_uri": f"{model.artifact_location}/{FILES['model.onnx']}"}
        version = self._client.create_model_version(
            name, f"models:/{model_id}", run_id, tags={**tags, **extra}, model_id=model_id
        )
        # What mlflow.register_model does besides; that function prints to the terminal.
        link = json.dumps([{"name": version.name, "version": version.version}])
        self._client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
        return version

    def _set_best(self, sweep: str, name: str) -> None:
        versions = [version for version in self._versions(sweep, None) if version.name == name]
        best = min(versions, key=lambda version: (*rank(from_tags(version.tags, "")), int(version.version)))
        self._client.set_registered_model_alias(name, BEST_ALIAS, best.version)

    @contextlib.contextmanager
    def _calls(self) -> Iterator[None]:
        """Keep MLflow quiet, speaking to this store, and turn its errors into ours."""
        from sqlalchemy.exc import SQLAlchemyError

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self._mlflow.get_tracking_uri() != self.tracking_uri:  # parts of MLflow know only the global one
                self._mlflow.set_tracking_uri(self.tracking_uri)
            try:
                yield
            except (self._mlflow.exceptions.MlflowException, SQLAlchemyError) as error:
                raise RunError(f"MLflow at {self.tracking_uri}: {error}") from error


def _quiet_mlflow() -> Any:
    """Import MLflow so that nothing of it reaches the terminal."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        import mlflow.pytorch
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    return mlflow
