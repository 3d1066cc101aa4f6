"""The registered versions of MLflow as networks: made with their checksums, and held against them ever after.

Why here: what is registered must be found whole by whoever comes back to it. It must not import MLflow (it is handed a
`Connection`) and must not know runs, nor which result is wanted.
"""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.plan.result import TrialResult
from orchestrator.registry.choice import Registered, aliases_of, is_automatic, model_name
from orchestrator.registry.connection import Connection, doubled
from orchestrator.registry.model import FILES, checksum
from orchestrator.registry.values import FOLDER_TAG, SWEEP_TAG, TRIAL_TAG, from_tags
from orchestrator.report.card import is_card, model_card
from supernet.errors import InputError, RunError
from supernet.plain import CHECKSUM, check_name

CREATE_TRIES = 20
"""MLflow numbers versions by counting; of several that are made at once, some are refused."""


def _names(tags: Mapping[str, str]) -> list[str]:
    """Return the names of the files that a version was registered with; a network from elsewhere has not all."""
    return [name for name in FILES if f"{CHECKSUM}.{name}" in tags]


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
        self._artifacts = artifacts
        # What a server lost is found by whoever fetches it alone: no sweep reads all that is registered there.
        self._remake = remake if artifacts else f"delete this version in MLflow, and {remake}"

    def of(self, sweep: str, trial: str | None) -> list[Any]:
        """Return the versions of a sweep, or of one trial, newest first."""
        where = f"tags.`{SWEEP_TAG}` = '{sweep}'" + ("" if trial is None else f" and tags.`{TRIAL_TAG}` = '{trial}'")
        found = _all(self._client.search_model_versions, where)
        return sorted(found, key=lambda version: (version.creation_timestamp, int(version.version)), reverse=True)

    def networks(self, sweep: str | None) -> list[Registered]:
        """Return the newest version of each trial of a sweep, or of all sweeps, by target and cost.

        What another folder left under a sweep's name is none of its networks, see `claim`.
        """
        where = f"tags.`{SWEEP_TAG}` " + ("LIKE '%'" if sweep is None else f"= '{check_name(sweep, 'sweep')}'")
        aliases: dict[tuple[str, int], list[str]] = {}
        models = {model.name: model for model in _all(self._client.search_registered_models, where)}
        for model in models.values():
            for alias, number in sorted(model.aliases.items()):
                aliases.setdefault((model.name, int(number)), []).append(alias)
        found: dict[tuple[str, str], Registered] = {}
        for version in sorted(_all(self._client.search_model_versions, where), key=lambda v: int(v.version)):
            if version.name in models and _is_of_another(version, models[version.name]):
                continue
            number = int(version.version)
            names = tuple(aliases.get((version.name, number), ()))
            entry = Registered(version.name, number, names, from_tags(version.tags, _uri(version)))
            found[entry.result.sweep, entry.result.trial] = entry
        return sorted(
            found.values(), key=lambda n: (n.result.sweep, n.result.target, n.result.cost or 0.0, n.result.trial)
        )

    def claim(self, sweep: str, folder: str) -> None:
        """Let the networks of a sweep be those of the folder with an id.

        Versions that a folder of another id registered stay as they are, until one of the same trial replaces them; the
        sweep's aliases leave them.
        """
        for model in _all(self._client.search_registered_models, f"tags.`{SWEEP_TAG}` = '{sweep}'"):
            if model.tags.get(FOLDER_TAG) != folder:
                self._client.set_registered_model_tag(model.name, FOLDER_TAG, folder)
                self.set_aliases(model.name)

    def require_own(self, sweep: str, target: str) -> bool:
        """Refuse a registered model that is of another sweep: `a-b` and `c` make the same name as `a` and `b-c`.

        Returns:
            Whether the model is there.

        Raises:
            InputError: If the model's name is taken.
        """
        found = self._client.search_registered_models(f"name = '{model_name(sweep, target)}'")
        for model in found:
            if model.tags.get(SWEEP_TAG) != sweep:
                owner = f"sweep {model.tags[SWEEP_TAG]!r}" if SWEEP_TAG in model.tags else "someone else"
                raise InputError(
                    f"sweep {sweep!r}, target {target!r}: the registered model {model.name!r} is one of {owner}; use "
                    "another name for the sweep (--name), or rename that model in MLflow"
                )
        return bool(found)

    def create(self, model_id: str, run_id: str, tags: Mapping[str, str], sent: Mapping[str, Path]) -> Any:
        """Make a logged model a version, with all its tags and the checksums of its files in one transaction.

        Raises:
            InputError: If the registered model is one of another sweep.
            RunError: If a file did not arrive as it was sent.
        """
        checksums = self._checksums(model_id, sent)
        name = model_name(tags[SWEEP_TAG], tags["target"])
        if not self.require_own(tags[SWEEP_TAG], tags["target"]):
            self._make_model(name, {key: tags[key] for key in (SWEEP_TAG, "target", FOLDER_TAG) if key in tags})
        version = self._number(name, model_id, run_id, {**tags, **checksums})
        # What mlflow.register_model does besides; that function prints to the terminal.
        link = json.dumps([{"name": version.name, "version": version.version}])
        self._client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
        return version

    def _make_model(self, name: str, tags: Mapping[str, str]) -> None:
        """Make a registered model; another process may do the same."""
        try:
            self._client.create_registered_model(name, tags=dict(tags))
        except self._mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _number(self, name: str, model_id: str, run_id: str, tags: Mapping[str, str]) -> Any:
        """Make a version, however many others are made at the same time."""
        for left in reversed(range(CREATE_TRIES)):
            try:
                return self._client.create_model_version(
                    name, f"models:/{model_id}", run_id, tags=dict(tags), model_id=model_id
                )
            except self._mlflow.exceptions.MlflowException as error:
                if "Model Version creation error" not in str(error) or not left:
                    raise
        raise AssertionError

    def kept(self, version: Any, result: TrialResult) -> bool:
        """Whether a version is of this result and sweep, and its files, if they are here, are what was registered."""
        if _result(version) != dataclasses.replace(result, model_uri=""):
            return False
        if _is_of_another(version, self._client.get_registered_model(version.name)):
            return False
        if self._artifacts is None:
            return True
        model = self._artifacts / "models" / version.source.split("/")[-1] / "artifacts"
        names = _names(version.tags)
        return result.file in ("", *names) and all(
            (model / FILES[name]).is_file() and checksum(model / FILES[name]) == version.tags[f"{CHECKSUM}.{name}"]
            for name in names
        )

    def replace(self, newest: Any, result: TrialResult) -> None:
        """Let the newest version of a trial be its only one.

        Aliases that users set go over to it if it is the same network made whole; those of another network go with it.
        The others are looked for only now: where a server's answer is lost, what was asked for is made twice.
        """
        for version in self.of(result.sweep, result.trial):
            if (version.name, version.version) == (newest.name, newest.version):
                continue
            if _result(version) == _result(newest):
                for alias in self._client.get_model_version(version.name, version.version).aliases:
                    self._client.set_registered_model_alias(newest.name, alias, newest.version)
            self._client.delete_model_version(version.name, version.version)
        self._delete_networks(result, keep=newest.source.split("/")[-1])

    def describe(self, version: Any, card: str) -> None:
        """Let a version have its card, unless a user wrote another text."""
        if is_card(version.description, version.name) and version.description != card:
            self._client.update_model_version(version.name, version.version, card)

    def set_aliases(self, name: str) -> None:
        """Let every automatic alias of a model stand where `aliases_of` says, and its card; users' own are left alone.

        Several processes may do so at once: each goes on until it finds nothing to change after its last write, so
        whoever writes last has seen all versions.
        """
        while True:
            versions = _all(self._client.search_model_versions, f"name = '{name}' and tags.`{SWEEP_TAG}` LIKE '%'")
            numbered = {str(v.version): v for v in sorted(versions, key=lambda v: int(v.version))}
            if not numbered:
                return
            target = _result(next(iter(numbered.values()))).target
            model = self._client.get_registered_model(name)
            own = {number: version for number, version in numbered.items() if not _is_of_another(version, model)}
            results = {number: _result(version) for number, version in own.items()}
            found = {alias: str(v) for alias, v in model.aliases.items()}
            wanted = aliases_of(results)
            gone = [alias for alias in found.keys() - wanted.keys() if is_automatic(alias, target)]
            moved = [alias for alias, number in wanted.items() if found.get(alias) != number]
            try:
                for alias in gone:
                    self._client.delete_registered_model_alias(name, alias)
                for alias in moved:
                    self._client.set_registered_model_alias(name, alias, wanted[alias])
            except self._mlflow.exceptions.MlflowException as error:
                if not _overtaken(error):
                    raise
                continue
            card = model_card(name, _shown(results, wanted)) if results else ""
            described = (model.description or "") == card or not is_card(model.description, name)
            if not described:
                self._client.update_registered_model(name, card)
            if not gone and not moved and described:
                return

    def files(self, model_uri: str) -> list[str]:
        """Return the names of the files that a version has."""
        return _names(self._client.get_model_version(*model_uri.removeprefix("models:/").split("/")).tags)

    def fetch(self, model_uri: str, folder: Path) -> Path:
        """Download a version and return where it is, after every file is found to be what was registered.

        Raises:
            RunError: If a file is missing or damaged; a store that is away, or a disk that is full, lost none.
        """
        name, number = model_uri.removeprefix("models:/").split("/")
        tags = self._client.get_model_version(name, number).tags
        local = self._download(model_uri, folder)
        for file in _names(tags):
            if not (local / FILES[file]).is_file():
                raise RunError(f"{model_uri}: {file} is missing in the registry; {self._remake}")
            if checksum(local / FILES[file]) != tags[f"{CHECKSUM}.{file}"]:
                raise RunError(f"{model_uri}: {file} is damaged, its checksum does not fit; {self._remake}")
        return local

    def _download(self, model_uri: str, folder: Path) -> Path:
        download = self._mlflow.artifacts.download_artifacts
        return Path(download(artifact_uri=model_uri, dst_path=str(folder), tracking_uri=self._tracking_uri))

    def _checksums(self, model_id: str, sent: Mapping[str, Path]) -> dict[str, str]:
        """Return the checksums of a model's files as tags, read back from where they are kept."""
        with tempfile.TemporaryDirectory(prefix="onepath-check-") as folder:
            local = self._download(f"models:/{model_id}", Path(folder))
            kept = {name: checksum(local / FILES[name]) for name in sent}
        for name, path in sent.items():
            if kept[name] != checksum(path):
                raise RunError(f"MLflow at {self._tracking_uri}: {name} did not arrive whole; run the command again")
        return {f"{CHECKSUM}.{name}": digest for name, digest in kept.items()}

    def _delete_networks(self, result: TrialResult, keep: str) -> None:
        """Remove what earlier attempts logged for the trial; their files too, if they lie in this registry."""
        where = f"tags.`{SWEEP_TAG}` = '{result.sweep}' and tags.`{TRIAL_TAG}` = '{result.trial}'"
        for model in self._client.search_logged_models([self._experiment_id], where):
            if model.model_id != keep:
                if self._artifacts is not None:
                    shutil.rmtree(self._artifacts / "models" / check_name(model.model_id, "model"), ignore_errors=True)
                self._client.delete_logged_model(model.model_id)


def _uri(version: Any) -> str:
    return f"models:/{version.name}/{version.version}"


def _result(version: Any) -> TrialResult:
    """Return what a version was registered with: the result without its name."""
    return dataclasses.replace(from_tags(version.tags, _uri(version)), model_uri="")


def _is_of_another(version: Any, model: Any) -> bool:
    """Whether a folder registered a version, and another has taken the sweep's name since."""
    owner = model.tags.get(FOLDER_TAG)
    return owner is not None and version.tags.get(FOLDER_TAG, owner) != owner


def _overtaken(error: Any) -> bool:
    """Whether another process set the same alias at the same time, or deleted the version it was to name."""
    return doubled(error) or error.error_code == "RESOURCE_DOES_NOT_EXIST"


def _shown(
    results: Mapping[str, TrialResult], aliases: Mapping[str, str]
) -> list[tuple[str, Sequence[str], TrialResult]]:
    """Return versions with their automatic aliases and results, by cost."""
    ordered = sorted(results.items(), key=lambda pair: (pair[1].cost or 0.0, int(pair[0])))
    return [(number, [name for name, of in aliases.items() if of == number], result) for number, result in ordered]


def _all(search: Callable[..., Any], where: str) -> list[Any]:
    """Return everything that a search of MLflow finds, page by page."""
    found = search(where, max_results=1000)
    entries = list(found)
    while found.token:
        found = search(where, max_results=1000, page_token=found.token)
        entries += found
    return entries
