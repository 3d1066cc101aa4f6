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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from torch import Tensor, nn

from orchestrator.plan.result import TrialResult, told
from orchestrator.registry.embedded import REMAKE, artifacts_beside, settle
from orchestrator.registry.model import FILES, checksum, files_beside, log_network
from orchestrator.registry.runs import Runs
from orchestrator.registry.server import RegistryAway, require_version
from orchestrator.registry.values import SWEEP_TAG, TRIAL_TAG, best_within, from_tags, rank, to_tags
from supernet.errors import InputError, RunError
from supernet.plain import check_name

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
        self.tracking_uri, self._remake = tracking_uri, remake
        self._folder: Path | None = None  # the only place where files are removed
        if scheme == "sqlite":
            database = Path(tracking_uri.removeprefix("sqlite:///"))
            self._scratch = tempfile.TemporaryDirectory(prefix="onepath-registry-")
            settled = settle(database, experiment, Path(self._scratch.name), create=create, remake=remake)
            self.tracking_uri, self._folder = f"sqlite:///{settled}", artifacts_beside(database)
        self._mlflow = _quiet_mlflow()
        if scheme in ("http", "https"):
            require_version(self._mlflow, tracking_uri)
        with self._calls():
            self._client = self._mlflow.MlflowClient(self.tracking_uri)
            found = self._client.get_experiment_by_name(experiment)
            # The first call to a new SQLite file creates the schema; doing so from several processes at once fails.
            self.experiment_id: str = found.experiment_id if found else self._create_experiment(experiment)
        self._runs = Runs(self._mlflow, self._client, self.experiment_id)

    def _create_experiment(self, name: str) -> str:
        root = None if self._folder is None else self._folder.as_uri()
        return str(self._client.create_experiment(name, artifact_location=root))

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

        A second call with the same result returns the same version; one with another result replaces it, and so does
        one whose files here are no longer what was registered.

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
            if old and self._kept(old[0], result):
                newest, *rest = old
            else:
                run = self._runs.for_result(result)
                with tempfile.TemporaryDirectory() as folder:
                    beside = files_beside(Path(folder), architecture, onnx_path, weights_path)
                    with self._mlflow.start_run(run_id=run.info.run_id, log_system_metrics=False):
                        model_id = log_network(self._mlflow, result, network, example, beside)
                    tags |= self._checksums(model_id, beside)
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

    def lacks(self, results: Iterable[TrialResult]) -> list[str]:
        """Return the trials of those results that are not registered here under their `model_uri`, whole."""
        with self._calls():
            return [result.trial for result in results if not self._holds(result)]

    def _holds(self, result: TrialResult) -> bool:
        found = self._versions(result.sweep, result.trial)
        names = [f"models:/{version.name}/{version.version}" for version in found]
        return names == [result.model_uri] and self._kept(found[0], result)

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
        if out.exists() and not out.is_dir():
            raise InputError(f"{out}: not a folder; name another one to write to")
        out.parent.mkdir(parents=True, exist_ok=True)
        numbers = told(chosen) | {"files": [*FILES, "model.json"]}
        with self._calls(), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            fetched = self._fetch(chosen.model_uri, Path(folder))
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

    def _fetch(self, model_uri: str, folder: Path) -> Path:
        """Download a version and return where it is, after every file is found to be what was registered."""
        name, number = model_uri.removeprefix("models:/").split("/")
        tags = self._client.get_model_version(name, number).tags
        try:
            local = Path(
                self._mlflow.artifacts.download_artifacts(
                    artifact_uri=model_uri, dst_path=str(folder), tracking_uri=self.tracking_uri
                )
            )
        except (OSError, self._mlflow.exceptions.MlflowException) as error:
            raise RunError(f"{model_uri}: its files cannot be fetched ({error}); {self._remake}") from error
        for file, place in FILES.items():
            if not (local / place).is_file():
                raise RunError(f"{model_uri}: {file} is missing in the registry; {self._remake}")
            if checksum(local / place) != tags.get(f"sha256.{file}"):
                raise RunError(f"{model_uri}: {file} is damaged, its checksum does not fit; {self._remake}")
        return local

    def _checksums(self, model_id: str, sent: Sequence[Path]) -> dict[str, str]:
        """Return the checksums of a model's files as tags, read back from where they are kept."""
        with tempfile.TemporaryDirectory(prefix="onepath-check-") as folder:
            local = Path(
                self._mlflow.artifacts.download_artifacts(
                    artifact_uri=f"models:/{model_id}", dst_path=folder, tracking_uri=self.tracking_uri
                )
            )
            kept = {name: checksum(local / place) for name, place in FILES.items()}
        for path in sent:
            if kept[path.name] != checksum(path):
                raise RunError(
                    f"MLflow at {self.tracking_uri}: {path.name} did not arrive whole; run the command again"
                )
        return {f"sha256.{name}": digest for name, digest in kept.items()}

    def _kept(self, version: Any, result: TrialResult) -> bool:
        """Whether a version is of this result, and its files here, if they are here, are what was registered."""
        if from_tags(version.tags, "") != dataclasses.replace(result, model_uri="", reason=""):
            return False
        if self._folder is None:
            return True
        model = self._folder / "models" / version.source.split("/")[-1] / "artifacts"
        return all(
            (model / place).is_file() and checksum(model / place) == version.tags.get(f"sha256.{name}")
            for name, place in FILES.items()
        )

    def _versions(self, sweep: str, trial: str | None) -> list[Any]:
        """Return the versions of a sweep, or of one trial, newest first."""
        where = f"tags.`{SWEEP_TAG}` = '{sweep}'" + ("" if trial is None else f" and tags.`{TRIAL_TAG}` = '{trial}'")
        found = list(self._client.search_model_versions(where, max_results=10000))
        return sorted(found, key=lambda version: (version.creation_timestamp, int(version.version)), reverse=True)

    def _delete_networks(self, result: TrialResult, keep: str) -> None:
        """Remove what earlier attempts logged for the trial; their files too, if they lie in this registry."""
        where = f"tags.`{SWEEP_TAG}` = '{result.sweep}' and tags.`{TRIAL_TAG}` = '{result.trial}'"
        for model in self._client.search_logged_models([self.experiment_id], where):
            if model.model_id != keep:
                if self._folder is not None:
                    shutil.rmtree(self._folder / "models" / check_name(model.model_id, "model"), ignore_errors=True)
                self._client.delete_logged_model(model.model_id)

    def _create_version(self, name: str, model_id: str, run_id: str, tags: Mapping[str, str]) -> Any:
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name, tags={SWEEP_TAG: tags[SWEEP_TAG], "target": tags["target"]})
        version = self._client.create_model_version(
            name, f"models:/{model_id}", run_id, tags=dict(tags), model_id=model_id
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
                # It also remembers where a run's files are by the run alone; a copied registry has the same runs.
                self._mlflow.tracking._tracking_service.utils._artifact_repos_cache.clear()
            try:
                yield
            except (self._mlflow.exceptions.MlflowException, SQLAlchemyError, OSError) as error:
                raise self._told(error) from error

    def _told(self, error: Exception) -> RunError:
        """Return an error of MLflow's as ours, telling a registry that is away from one that refuses."""
        from sqlalchemy.exc import OperationalError

        if urlparse(self.tracking_uri).scheme in ("http", "https"):
            try:
                require_version(self._mlflow, self.tracking_uri)
            except RunError as away:
                return away
        kind = RegistryAway if isinstance(error, OperationalError) else RunError
        return kind(f"MLflow at {self.tracking_uri}: {error}")


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
