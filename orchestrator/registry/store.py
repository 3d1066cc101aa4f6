"""The results of a sweep in MLflow: one run per trial, one registered version per network, and the way back out.

Why here: MLflow is the one place a network leaves the product by, and this is how everybody else sees it. It must not
know ray, nor how a trial came to its result.

Only the driver of a sweep writes. Everything is found again by tag (`onepath.sweep`, `onepath.trial`) before it is
made, and a trial's version is written last, with all its tags in one transaction: whoever is killed and repeats
finds either the version or the pieces to make it from.
"""

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from orchestrator.plan.addresses import registry_address
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import PREPROCESSING_FILE, RESULT_FILE
from orchestrator.registry.choice import Registered, Wish, check_alias, choose
from orchestrator.registry.connection import Connection
from orchestrator.registry.embedded import REMAKE, artifacts_beside, settle
from orchestrator.registry.model import CODE, FILES, NAMES, checksum, confusion_in, in_format, log_network
from orchestrator.registry.pulled import NUMBERS_FILE, put, write_numbers
from orchestrator.registry.runs import Folder, Runs
from orchestrator.registry.values import FOLDER_TAG, REASON_TAG, to_tags
from orchestrator.registry.versions import Versions
from orchestrator.report.card import version_card, with_other_targets
from supernet.errors import InputError, RunError, nearest


class Registry:
    """A tracking store and model registry, seen as sweeps and trials.

    Args:
        tracking_uri: `sqlite:////abs/path/mlflow.db`, which keeps its artifacts in the folder `artifacts` beside it, or
            the http address of a tracking server.
        experiment: Name of the MLflow experiment.
        create: False refuses an SQLite file that is not there, and leaves one as it is, for commands that write no
            network; in a folder that has another path now they read a copy of it.
        remake: What to tell whoever finds it lost or damaged: how to register again what is stored.

    Attributes:
        address: As given.
        tracking_uri: What is opened: the address, or the copy.

    Raises:
        InputError: If the store is of a kind that keeps no files, or absent while `create` is False.
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
        registry_address(tracking_uri)
        self.address, self.tracking_uri, artifacts = tracking_uri, tracking_uri, None
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
            if found is None and create:
                self._client.create_experiment(experiment, artifact_location=root)
                found = self._client.get_experiment_by_name(experiment)
        self.experiment_id = str(found.experiment_id) if found else ""
        self._runs = Runs(self._mlflow, self._client, self.experiment_id)
        self._versions = Versions(connection, self.experiment_id, artifacts, remake)

    def open_sweep(
        self,
        sweep: str,
        config: Mapping[str, Any],
        *,
        running: bool = True,
        folder: Folder | None = None,
        targets: Iterable[str] = (),
    ) -> str:
        """Return the id of the sweep's run, made on the first call and found again after.

        Args:
            sweep: Name of the sweep.
            config: Its configuration as JSON-ready values, kept as `config.json`.
            running: Whether the caller runs the sweep. If not, a run that is there keeps its state and configuration,
                and one that is made is finished.
            folder: The sweep's own, of which the run and its networks are from now on; None for who has none. Networks
                that another folder registered under the name stay in MLflow, and are none of the sweep's.
            targets: Names of those that networks will be registered for.

        Raises:
            InputError: If MLflow would not take the name, a sweep of another folder has it, or another sweep has a
                registered model of one of the names `<sweep>-<target>`.
        """
        with self._calls():
            for target in targets:
                self._versions.require_own(sweep, target)
            run_id = self._runs.open_sweep(sweep, config, running=running, folder=folder)
            if folder is not None:
                self._versions.claim(sweep, folder.id)
            return run_id

    def link_data(self, sweep: str, fingerprint: str, counts: Mapping[str, int]) -> None:
        """Say in the sweep's run which images it works on: their fingerprint, and how many there are in each split."""
        with self._calls():
            self._runs.link_data(sweep, fingerprint, counts)

    def close_sweep(self, sweep: str, files: Mapping[str, bytes] | None = None) -> None:
        """Mark the sweep's run as finished, with every automatic alias of its models where it belongs.

        Args:
            sweep: Name of the sweep.
            files: What to keep in its run, by the path there; files of these paths are replaced.
        """
        self.set_aliases(sweep)
        with self._calls():
            self._runs.close_sweep(sweep, files or {})

    def set_aliases(self, sweep: str) -> None:
        """Put every automatic alias of the sweep's models where it belongs."""
        with self._calls():
            for model in {network.model for network in self._versions.networks(sweep)}:
                self._versions.set_aliases(model)

    def log_progress(self, sweep: str, trial: str, metrics: Mapping[str, float], step: int) -> None:
        """Add points to the curves of a trial, or of the sweep (""); steps that are gone through again are left out."""
        with self._calls():
            self._runs.progress(sweep, trial, metrics, step)

    def record_failure(self, result: TrialResult) -> None:
        """Keep a failed trial as a failed run with its reason."""
        with self._calls():
            run_id = self._runs.of_trial(result.sweep, result.trial).info.run_id
            self._client.set_tag(run_id, REASON_TAG, result.reason[:5000])
            self._client.set_terminated(run_id, "FAILED")

    def add_latencies(self, sweep: str, trial: str, latencies: Mapping[str, float]) -> None:
        """Give a trial's registered network, its run and its card what it takes on all targets that measured it.

        Args:
            sweep: Name of the sweep.
            trial: Key of the trial; where no network of it is registered, nothing is done.
            latencies: Milliseconds by the name of the target; those that are known already stay as they are.
        """
        figures = {f"latency_ms_on_{target}": latency_ms for target, latency_ms in latencies.items()}
        with self._calls():
            for version in self._versions.of(sweep, trial)[:1]:
                self._runs.add(version.run_id, figures, version.source.split("/")[-1])
                others = {target: ms for target, ms in latencies.items() if target != version.tags["target"]}
                self._versions.describe(version, with_other_targets(version.description or "", others))

    def register(
        self, result: TrialResult, files: Mapping[str, Path], versions: Mapping[str, str] | None = None
    ) -> str:
        """Make the trial's network a version of the registered model `<sweep>-<target>`, exactly once.

        A second call with the same result returns the same version; one with another result replaces it, and so does
        one whose files here are no longer what was registered.

        Args:
            result: A trial that is finished; a rejected network is kept too, and no alias names it.
            files: The network's files by name: those of `orchestrator.registry.model.NAMES` that there are, and for its
                card `confusion.json` and `architecture.png`, where they are known.
            versions: Of the packages that its figures are of, where known: whoever loads it gets the same runtime.

        Returns:
            `models:/<sweep>-<target>/<version>`.

        Raises:
            InputError: If the trial is not finished or the sweep was not opened.
            RunError: If MLflow fails, or the delivered file is not the one that the result is of.
        """
        if not result.finished or None in (result.top1, result.validation_top1, result.cost):
            raise InputError(f"trial {result.trial!r}: only a finished one, with accuracies and cost, is registered")
        if result.file and checksum(files[result.file]) != result.file_sha256:
            raise RunError(
                f"trial {result.trial}: {result.file} is not the file that was judged and measured, its checksum "
                f"differs; remove {RESULT_FILE} from the trial's folder and run the command again: the file as it is "
                "now is judged and measured"
            )
        with self._calls():
            of_sweep = self._runs.of_sweep(result.sweep).data.tags
            newest = next(iter(self._versions.of(result.sweep, result.trial)), None)
            if newest is None or not self._versions.kept(newest, result):
                run = self._runs.for_result(result)
                with self._mlflow.start_run(run_id=run.info.run_id, log_system_metrics=False):
                    model_id = log_network(self._mlflow, result, files, versions or {})
                self._runs.judge(run.info.run_id, result, model_id)
                sent = {name: files[name] for name in NAMES if name in files} | {CODE.name: CODE}
                tags = to_tags(result) | {key: of_sweep[key] for key in (FOLDER_TAG,) if key in of_sweep}
                newest = self._versions.create(model_id, run.info.run_id, tags, sent)
            uri = f"models:/{newest.name}/{newest.version}"
            about = json.loads(files[PREPROCESSING_FILE].read_text())
            card = version_card(dataclasses.replace(result, model_uri=uri), about, confusion_in(files))
            self._versions.describe(newest, card)
            self._versions.replace(newest, result)
            self._versions.set_aliases(newest.name)
            self._client.set_terminated(newest.run_id)
            return uri

    def networks(self, sweep: str | None = None) -> list[Registered]:
        """Return the registered networks of a sweep, or of all, by sweep, target and cost.

        Raises:
            InputError: If nothing of such a sweep is registered.
        """
        with self._calls():
            found = self._versions.networks(sweep)
            known = set() if found or sweep is None else {n.result.sweep for n in self._versions.networks(None)}
        if sweep is not None and not found:
            raise InputError(f"no network of sweep {sweep!r} in this registry{nearest(sweep, known)}")
        return found

    def promote(self, model: str, version: int, alias: str) -> tuple[Registered, Registered | None]:
        """Let an alias of a registered model name one version.

        Returns:
            The network it names now, and the one that it named before.

        Raises:
            InputError: If there is no such version, its network was rejected, or the alias is one that MLflow refuses
                or the sweep sets.
        """
        networks = self.networks()
        of_model = {network.version: network for network in networks if network.model == model}
        if not of_model:
            raise InputError(f"no registered model {model!r}{nearest(model, {network.model for network in networks})}")
        if version not in of_model:
            known = ", ".join(str(number) for number in sorted(of_model))
            raise InputError(f"{model} has no version {version}; it has {known}")
        chosen = of_model[version]
        check_alias(alias, chosen.result.target)
        if not chosen.result.done:
            raise InputError(
                f"{model} version {version} was rejected, so nothing is named after it: {chosen.result.reason}"
            )
        before = next((network for network in of_model.values() if alias in network.aliases), None)
        home = Connection(self.address)  # what is read may be a copy
        with home.calls():
            home.client.set_registered_model_alias(model, alias, str(version))
        return chosen, before

    def lacks(self, results: Iterable[TrialResult]) -> list[str]:
        """Return the trials of those results that are not registered here under their `model_uri`, whole."""
        with self._calls():
            return [result.trial for result in results if not self._holds(result)]

    def _holds(self, result: TrialResult) -> bool:
        found = self._versions.of(result.sweep, result.trial)
        names = [f"models:/{version.name}/{version.version}" for version in found]
        return names == [result.model_uri] and self._versions.kept(found[0], result)

    def pull(
        self,
        sweep: str,
        target: str,
        out_dir: str | Path,
        *,
        max_ms: float | None = None,
        max_count: float | None = None,
        min_top1: float | None = None,
        alias: str | None = None,
        version: int | None = None,
        format: str = "",
    ) -> dict[str, Any]:
        """Copy one network of a target into a folder: see `orchestrator.registry.choice.Wish`.

        The folder then holds the files of the format, of all without one: `model.pt2` (torch.export), `model.onnx`,
        `preprocessing.json`, `image_classifier.py` that runs them, `architecture.json`, `weights.safetensors`; and
        `model.json` with the numbers. Files of these names are replaced; others that an earlier pull wrote are removed.

        Args:
            sweep: Name of the sweep.
            target: Name of the target.
            out_dir: The folder; made if it is not there.
            max_ms: Highest measured latency.
            max_count: Highest count, where the target counts.
            min_top1: Lowest validation top-1, 0..1.
            alias: As MLflow has it, such as `best`.
            version: Number of the version.
            format: One of `orchestrator.registry.model.FORMATS`.

        Returns:
            The numbers, as in `model.json`.

        Raises:
            InputError: If the sweep, the target, the format or such a network does not exist.
        """
        wish = Wish(max_ms, max_count, min_top1, alias, version)
        chosen = choose(self.networks(sweep), target, wish)
        with self._calls():
            names = in_format(format, self._versions.files(chosen.result.model_uri), chosen.result.model_uri)
        out = Path(out_dir).expanduser()
        if out.exists() and not out.is_dir():
            raise InputError(f"{out}: not a folder; name another one to write to")
        out.parent.mkdir(parents=True, exist_ok=True)
        numbers = chosen.to_plain() | {"files": [*names, NUMBERS_FILE]}
        with self._calls(), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            fetched = self._versions.fetch(chosen.result.model_uri, Path(folder))
            ready = Path(folder) / "ready"
            ready.mkdir()
            for name in names:
                os.replace(fetched / FILES[name], ready / name)
            write_numbers(ready, numbers)
            put(ready, out)
        return numbers
