"""The runs of MLflow as sweeps and trials: found by tag before they are made.

Why here: a sweep that is killed and started again goes on in the runs it had. It must not import MLflow (it is handed
the module by `orchestrator.registry.connection`) and must not know models or versions.
"""

import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.plan.result import TrialResult
from orchestrator.registry.connection import doubled
from orchestrator.registry.values import (
    FOLDER_TAG,
    PLACE_TAG,
    REASON_TAG,
    ROLE_TAG,
    SWEEP_TAG,
    TRIAL_TAG,
    metrics_of,
    params_of,
)
from supernet.errors import InputError, nearest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FORMER = "former sweep"
"""Role of the run of a sweep whose folder was deleted, once another sweep has its name."""


@dataclass(frozen=True)
class Folder:
    """The folder that a sweep stands in: what tells it from other sweeps of its name.

    Attributes:
        id: Random; a copy of the folder has it too.
        place: Where it is, for people.
        alone: Whether no other folder of this name can be there for the registry, which is the storage's own: one with
            another id was deleted, and this one takes its place.
    """

    id: str
    place: str
    alone: bool = False


class Runs:
    """The runs of one experiment.

    Args:
        mlflow: The module.
        client: A client of the tracking store.
        experiment_id: Id of the experiment.
    """

    def __init__(self, mlflow: Any, client: Any, experiment_id: str) -> None:
        self._mlflow, self._entities = mlflow, mlflow.entities
        self._client = client
        self._experiment_id = experiment_id
        self._last_step: dict[tuple[str, str], int] = {}

    def open_sweep(self, sweep: str, config: Mapping[str, Any], *, running: bool, folder: Folder | None = None) -> str:
        """Return the id of the sweep's run, made or found again, with `config.json` in it where one is given.

        One that is found and is not run by the caller stays as it is; one that is made for it is finished. One that
        belongs to no folder as yet belongs to the given one. That of a folder that was deleted stays as it is, and its
        trials with it: curves and figures of the two would be told as those of one.

        Raises:
            InputError: If a run of this name, in whatever experiment, belongs to another folder.
        """
        _check_name("sweep", sweep)
        tags, owned = {SWEEP_TAG: sweep, ROLE_TAG: "sweep"}, {}
        if folder is not None:
            owned = {FOLDER_TAG: folder.id, PLACE_TAG: folder.place}
            if not folder.alone:
                self._refuse_others(tags, folder)
        while (run := self._find(tags)) is not None and folder is not None and _is_of_another(run, folder):
            self._client.set_tag(run.info.run_id, ROLE_TAG, FORMER)
        if run is None:
            run = self._client.create_run(self._experiment_id, tags=tags | owned, run_name=sweep)
            if not running:
                self._client.set_terminated(run.info.run_id)
        elif running:
            for name, value in owned.items():
                self._client.set_tag(run.info.run_id, name, value)
            self._client.update_run(run.info.run_id, status="RUNNING")
        else:
            return str(run.info.run_id)
        if config:
            self._client.log_dict(run.info.run_id, dict(config), "config.json")
        return str(run.info.run_id)

    def _refuse_others(self, tags: Mapping[str, str], folder: Folder) -> None:
        """Refuse a name that a sweep of another folder has: versions are found by it in every experiment."""
        for run in self._search(tags, self._experiments()):
            if _is_of_another(run, folder):
                since = datetime.fromtimestamp(run.info.start_time / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
                raise InputError(
                    f"sweep {tags[SWEEP_TAG]!r}: this registry has a sweep of that name, from "
                    f"{run.data.tags.get(PLACE_TAG, 'elsewhere')} since {since}, and both would replace each other's "
                    f"networks; use another name (--name), or, if that sweep is given up, delete its run "
                    f"{run.info.run_id} in MLflow"
                )

    def _experiments(self) -> list[str]:
        """Return the ids of all experiments."""
        found = self._client.search_experiments()
        ids = [experiment.experiment_id for experiment in found]
        while found.token:
            found = self._client.search_experiments(page_token=found.token)
            ids += [experiment.experiment_id for experiment in found]
        return ids

    def of_sweep(self, sweep: str) -> Any:
        """Return the run of a sweep that was opened.

        Raises:
            InputError: If it was not.
        """
        run = self._find({SWEEP_TAG: sweep, ROLE_TAG: "sweep"}) if NAME.fullmatch(sweep) else None
        if run is None:
            known = {found.data.tags[SWEEP_TAG] for found in self._search({ROLE_TAG: "sweep"})}
            raise InputError(f"no sweep {sweep!r} in this registry{nearest(sweep, known)}")
        return run

    def of_trial(self, sweep: str, trial: str) -> Any:
        """Return the run of a trial, a child of its sweep's, made if it is not there."""
        _check_name("trial", trial)
        parent = {"mlflow.parentRunId": self.of_sweep(sweep).info.run_id}
        tags = {SWEEP_TAG: sweep, TRIAL_TAG: trial} | parent
        run = self._find(tags)
        if run is None:
            run = self._client.create_run(self._experiment_id, tags=tags | {ROLE_TAG: "trial"}, run_name=trial)
        return run

    def for_result(self, result: TrialResult) -> Any:
        """Return the trial's run with the parameters of the result; one with other parameters is replaced.

        What it failed for before it succeeded is no longer said of it.
        """
        params = params_of(result)
        run = self.of_trial(result.sweep, result.trial)
        if any(run.data.params.get(name, value) != value for name, value in params.items()):
            self._client.delete_run(run.info.run_id)
            run = self.of_trial(result.sweep, result.trial)
        if REASON_TAG in run.data.tags:
            self._client.delete_tag(run.info.run_id, REASON_TAG)
        self._client.log_batch(run.info.run_id, params=[self._entities.Param(*pair) for pair in params.items()])
        return run

    def judge(self, run_id: str, result: TrialResult, model_id: str) -> None:
        """Give a logged model, and the run it came from, the numbers of the result, as numbers of its test images."""
        data = {"dataset_name": f"{result.sweep}-test", "dataset_digest": result.data} if result.data else {}
        if data:
            self._link(run_id, result.sweep, result.data, {"test": result.num_test_images or 0})
        now = time.time_ns() // 1_000_000
        points = [
            self._entities.Metric(name, value, now, 0, model_id=model_id, run_id=run_id, **data)
            for name, value in metrics_of(result).items()
        ]
        self._client.log_batch(run_id, points)

    def add(self, run_id: str, figures: Mapping[str, float], model_id: str) -> None:
        """Give a logged model, and the run it came from, figures that they do not have already.

        Where a user deleted the run, nothing takes them.
        """
        run, now = self._client.get_run(run_id), time.time_ns() // 1_000_000
        if run.info.lifecycle_stage == "deleted":
            return
        new = {name: value for name, value in figures.items() if run.data.metrics.get(name) != value}
        points = [
            self._entities.Metric(name, value, now, 0, model_id=model_id, run_id=run_id) for name, value in new.items()
        ]
        self._client.log_batch(run_id, points)

    def link_data(self, sweep: str, fingerprint: str, counts: Mapping[str, int]) -> None:
        """Give the sweep's run the data set, split by split, as what it worked on."""
        self._link(self.of_sweep(sweep).info.run_id, sweep, fingerprint, counts)

    def _link(self, run_id: str, sweep: str, fingerprint: str, counts: Mapping[str, int]) -> None:
        source, inputs = json.dumps({"sweep": sweep}), []
        for split, number in counts.items():
            profile = json.dumps({"num_images": number})
            images = self._entities.Dataset(f"{sweep}-{split}", fingerprint, "onepath", source, profile=profile)
            context = self._entities.InputTag("mlflow.data.context", split)
            inputs.append(self._entities.DatasetInput(images, [context]))
        while True:
            try:
                self._client.log_inputs(run_id, datasets=inputs)
                return
            except self._mlflow.exceptions.MlflowException as error:
                if not doubled(error):
                    raise

    def close_sweep(self, sweep: str, files: Mapping[str, bytes]) -> None:
        """Keep files in the sweep's run, by their paths in it, and mark it as finished."""
        run_id = self.of_sweep(sweep).info.run_id
        with tempfile.TemporaryDirectory(prefix="onepath-keep-") as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._client.log_artifacts(run_id, folder)
        self._client.set_terminated(run_id)

    def progress(self, sweep: str, trial: str, metrics: Mapping[str, float], step: int) -> None:
        """Add points to the curves of a trial, or of the sweep (""), except for steps the curve already has."""
        run_id = (self.of_trial(sweep, trial) if trial else self.of_sweep(sweep)).info.run_id
        fresh = {}
        for name, value in metrics.items():
            key = (run_id, name)
            if key not in self._last_step:
                history = self._client.get_metric_history(run_id, name)
                self._last_step[key] = max((point.step for point in history), default=-1)
            if step > self._last_step[key]:
                fresh[name] = float(value)
        now = time.time_ns() // 1_000_000
        self._client.log_batch(run_id, [self._entities.Metric(name, value, now, step) for name, value in fresh.items()])
        self._last_step.update({(run_id, name): step for name in fresh})

    def _search(self, tags: Mapping[str, str], experiments: Sequence[str] = ()) -> list[Any]:
        """Return the runs that have these tags, the oldest first, in this experiment unless others are named."""
        where = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        order = ["attributes.start_time ASC"]
        return list(
            self._client.search_runs(experiments or [self._experiment_id], where, max_results=10000, order_by=order)
        )

    def _find(self, tags: Mapping[str, str]) -> Any:
        return next(iter(self._search(tags)), None)


def _is_of_another(run: Any, folder: Folder) -> bool:
    """Whether a sweep's run belongs to another folder."""
    return bool(run.data.tags.get(FOLDER_TAG, folder.id) != folder.id)


def _check_name(kind: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError(f"{kind} name {name!r}: use letters, digits, '.', '_' and '-', a letter or digit first")
