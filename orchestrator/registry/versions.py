"""The registered versions of MLflow as networks: made with their checksums, and held against them ever after.

Why here: what is registered must be found whole by whoever comes back to it. It must not import MLflow (it is handed a
`Connection`) and must not know runs, nor which result is wanted.
"""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.plan.result import TrialResult
from orchestrator.registry.connection import Connection
from orchestrator.registry.model import FILES, checksum
from orchestrator.registry.values import SWEEP_TAG, TRIAL_TAG, from_tags, rank
from supernet.errors import RunError
from supernet.plain import check_name

BEST_ALIAS = "best"


class Versions:
    """The versions that one experiment's networks are registered as.

    Args:
        connection: To the store.
        experiment_id: Id of the experiment.
        artifacts: Folder of the artifacts if they lie here, else None; the only place where files are removed.
        remake: What to tell whoever finds a file lost or damaged: how to register again what is stored.
    """

    def __init__(self, connection: Connection, experiment_id: str, artifacts: Path | None, remake: str) -> None:
        self._mlflow, self._client = connection.mlflow, connection.client
        self._tracking_uri, self._experiment_id = connection.tracking_uri, experiment_id
        self._artifacts, self._remake = artifacts, remake

    def of(self, sweep: str, trial: str | None) -> list[Any]:
        """Return the versions of a sweep, or of one trial, newest first."""
        where = f"tags.`{SWEEP_TAG}` = '{sweep}'" + ("" if trial is None else f" and tags.`{TRIAL_TAG}` = '{trial}'")
        found = list(self._client.search_model_versions(where, max_results=10000))
        return sorted(found, key=lambda version: (version.creation_timestamp, int(version.version)), reverse=True)

    def create(self, name: str, model_id: str, run_id: str, tags: Mapping[str, str], sent: Mapping[str, Path]) -> Any:
        """Make a logged model a version, with all its tags and the checksums of its files in one transaction.

        Raises:
            RunError: If a file did not arrive as it was sent.
        """
        checksums = self._checksums(model_id, sent)
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name, tags={SWEEP_TAG: tags[SWEEP_TAG], "target": tags["target"]})
        version = self._client.create_model_version(
            name, f"models:/{model_id}", run_id, tags={**tags, **checksums}, model_id=model_id
        )
        # What mlflow.register_model does besides; that function prints to the terminal.
        link = json.dumps([{"name": version.name, "version": version.version}])
        self._client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
        return version

    def kept(self, version: Any, result: TrialResult) -> bool:
        """Whether a version is of this result, and its files here, if they are here, are what was registered."""
        if from_tags(version.tags, "") != dataclasses.replace(result, model_uri="", reason=""):
            return False
        if self._artifacts is None:
            return True
        model = self._artifacts / "models" / version.source.split("/")[-1] / "artifacts"
        return all(
            (model / place).is_file() and checksum(model / place) == version.tags.get(f"sha256.{name}")
            for name, place in FILES.items()
        )

    def replace(self, newest: Any, old: Sequence[Any], result: TrialResult) -> None:
        """Let the newest version of a trial be its only one, and the alias `best` stand at the best of its target."""
        for version in old:
            self._client.delete_model_version(version.name, version.version)
        self._delete_networks(result, keep=newest.source.split("/")[-1])
        rivals = [version for version in self.of(result.sweep, None) if version.name == newest.name]
        best = min(rivals, key=lambda version: (*rank(from_tags(version.tags, "")), int(version.version)))
        self._client.set_registered_model_alias(newest.name, BEST_ALIAS, best.version)

    def fetch(self, model_uri: str, folder: Path) -> Path:
        """Download a version and return where it is, after every file is found to be what was registered.

        Raises:
            RunError: If a file is missing or damaged.
        """
        name, number = model_uri.removeprefix("models:/").split("/")
        tags = self._client.get_model_version(name, number).tags
        try:
            local = self._download(model_uri, folder)
        except (OSError, self._mlflow.exceptions.MlflowException) as error:
            raise RunError(f"{model_uri}: its files cannot be fetched ({error}); {self._remake}") from error
        for file, place in FILES.items():
            if not (local / place).is_file():
                raise RunError(f"{model_uri}: {file} is missing in the registry; {self._remake}")
            if checksum(local / place) != tags.get(f"sha256.{file}"):
                raise RunError(f"{model_uri}: {file} is damaged, its checksum does not fit; {self._remake}")
        return local

    def _download(self, model_uri: str, folder: Path) -> Path:
        download = self._mlflow.artifacts.download_artifacts
        return Path(download(artifact_uri=model_uri, dst_path=str(folder), tracking_uri=self._tracking_uri))

    def _checksums(self, model_id: str, sent: Mapping[str, Path]) -> dict[str, str]:
        """Return the checksums of a model's files as tags, read back from where they are kept."""
        with tempfile.TemporaryDirectory(prefix="onepath-check-") as folder:
            local = self._download(f"models:/{model_id}", Path(folder))
            kept = {name: checksum(local / place) for name, place in FILES.items()}
        for name, path in sent.items():
            if kept[name] != checksum(path):
                raise RunError(f"MLflow at {self._tracking_uri}: {name} did not arrive whole; run the command again")
        return {f"sha256.{name}": digest for name, digest in kept.items()}

    def _delete_networks(self, result: TrialResult, keep: str) -> None:
        """Remove what earlier attempts logged for the trial; their files too, if they lie in this registry."""
        where = f"tags.`{SWEEP_TAG}` = '{result.sweep}' and tags.`{TRIAL_TAG}` = '{result.trial}'"
        for model in self._client.search_logged_models([self._experiment_id], where):
            if model.model_id != keep:
                if self._artifacts is not None:
                    shutil.rmtree(self._artifacts / "models" / check_name(model.model_id, "model"), ignore_errors=True)
                self._client.delete_logged_model(model.model_id)
