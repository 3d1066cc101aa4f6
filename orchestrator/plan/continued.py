"""What may change when a sweep is continued: one rule, and the difference said. It must not know how a sweep runs.

The rule: what has begun keeps its settings. Keys that alter no result may always change; the rest of a stage may change
until the stage has begun; targets and limits may be added, and taken away as long as no trial of theirs has begun. Keys
that the stored configuration lacks, because there were none such yet, have their defaults.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.data.storage import Storage
from orchestrator.plan.config import RunConfig
from orchestrator.plan.stored import known_trials
from orchestrator.plan.trials import (
    CONFIG_FILE,
    IMAGES_FILE,
    POOL_FILE,
    STARTS_FOLDER,
    WARMUP_FILE,
    WARMUP_KEY,
    Job,
    sweeps_in,
)
from supernet.errors import InputError, nearest
from supernet.plain import parse_json, read

FREE = (
    *("mlflow", "measure", "storage", "workers", "checkpoint", "max_concurrent", "baselines"),
    *("data.num_loader_workers", "warmup.recompute", "warmup.check_every", "search.recompute", "search.check_every"),
)
"""Keys that alter no finished result, with all below them."""

OF_TRIALS = ("mode", "search", "derive", "train", "deliver", "gate", "limits")
"""Keys that the training of the supernet does not read."""

OF_STATISTICS = ("mode", "derive.recalibration_batches")
"""Those of them that say whether it ends with batch-norm statistics that its paths share."""

OF_JUDGING = ("search.batch_size", "derive.recalibration_batches", "derive.max_validation_images")
"""What a judgement hangs on, of which the pool holds some: those to come must be made alike."""

Difference = tuple[str, Any, Any]
"""(key with its place, stored value, asked value)."""


def stored_config(store: Storage) -> dict[str, Any]:
    """Return the configuration that a sweep's folder keeps.

    Raises:
        InputError: If the file is damaged.
    """
    place = f"{store.uri}/{CONFIG_FILE}"
    try:
        config: dict[str, Any] = read(dict[str, Any], parse_json(store.read(CONFIG_FILE), place), place)
    except InputError as error:
        raise InputError(
            f"{error}; the file is damaged: remove it and run `onepath sweep` with the sweep's configuration again"
        ) from error
    return config


def stored_job(name: str, storage: str) -> Job:
    """Return a sweep that was started before.

    Raises:
        InputError: If the storage holds no sweep of this name, one that does not read, or another one in its folder.
    """
    root = Storage(storage)
    store = root.child(name)
    if not store.exists(CONFIG_FILE):
        raise InputError(
            f"no sweep {name!r} in {root.uri}{nearest(name, sweeps_in(root))} (--storage names another place)"
        )
    config = stored_config(store)
    try:
        job = Job({**config, "storage": root.uri}, "")
    except InputError as error:
        raise InputError(
            f"{store.uri}/{CONFIG_FILE}: not of a sweep of this version ({error}); use the version that wrote it, or "
            "move the folder out of the storage"
        ) from error
    if job.run.name != name:
        raise InputError(
            f"{store.uri}: holds sweep {job.run.name!r}, and all that is in it goes by that name; rename the folder "
            "back, or keep a copy under that name in another storage"
        )
    return job


def check_continued(stored: Mapping[str, Any], job: Job) -> list[str]:
    """Return what is different from the stored configuration, one line each.

    Args:
        stored: The configuration that the sweep was begun with.
        job: The sweep as it is asked for now.

    Raises:
        InputError: If something that has begun would have other settings, with the differences and the remedies.
    """
    warm, trials = _warm(job), begun(job)
    planned = {trial.key for trial in known_trials(job)}
    found: list[str] = []
    refused: list[str] = []
    stored, asked = _completed(stored), json.loads(json.dumps(job.config))
    for key, old, new in differences(stored, asked):
        section, line = key.partition(".")[0], f"{key}: {_short(old)} -> {_short(new)}"
        if section in FREE or key in FREE:
            fixed = False
        elif key == "data.source":  # wherever images are, they are compared with those that were noted
            fixed = (warm or bool(trials)) and not job.store.exists(IMAGES_FILE)
        elif section in OF_TRIALS:
            judging = key in OF_JUDGING and job.store.exists(POOL_FILE)
            fixed = bool(trials) or judging or (key in OF_STATISTICS and job.store.exists(WARMUP_FILE))
        elif section == "sweep":
            fixed = not trials <= planned
        elif section == "targets":
            fixed = not trials <= planned or any(_defined(stored, asked, target) for target in _targets(job, trials))
        else:
            fixed = warm or bool(trials)
        (refused if fixed else found).append(line)
    if refused:
        other = "another name (--name)"
        if job.store.exists(WARMUP_FILE):
            other += f" (with `from: {job.run.name}` and `num_steps: 0` under `warmup` it keeps the trained supernet)"
        raise InputError(
            f"sweep {job.run.name!r} at {job.store.uri} has begun with other settings:\n  "
            + "\n  ".join(refused)
            + f"\nput them back to continue it, use {other}, or delete that folder to start over; "
            f"if it never had the old ones, {job.store.uri}/{CONFIG_FILE} is damaged: remove it alone"
        )
    return found


def _completed(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a stored configuration with the defaults of the keys that it lacks; as it is where it does not read."""
    with contextlib.suppress(InputError):
        run: RunConfig = read(RunConfig, stored, CONFIG_FILE)
        targets = [target.to_dict() for target in run.load_targets()]
        whole: dict[str, Any] = json.loads(json.dumps({**run.model_dump(mode="json"), "targets": targets}))
        return whole
    return stored


def begun(job: Job) -> set[str]:
    """Return the keys of the trials that have begun."""
    return {*_started(job), *job.store.child("trials").names()} - {WARMUP_KEY}


def has_begun(job: Job) -> bool:
    """Whether anything of a sweep has: the training of its supernet, or a trial."""
    return _warm(job) or bool(begun(job))


def _warm(job: Job) -> bool:
    return WARMUP_KEY in _started(job) or job.store.exists(WARMUP_FILE)


def _started(job: Job) -> set[str]:
    return {name.removesuffix(".json") for name in job.store.child(STARTS_FOLDER).names()}


def _targets(job: Job, keys: set[str]) -> set[str]:
    return {trial.target for trial in known_trials(job) if trial.key in keys}


def _defined(stored: Mapping[str, Any], asked: Mapping[str, Any], name: str) -> bool:
    """Whether a target is another one than it was."""
    old, new = ([t for t in config["targets"] if t["name"] == name] for config in (stored, asked))
    return old != new


def differences(old: Any, new: Any, key: str = "") -> Iterator[Difference]:
    """Yield where two plain values differ, as deep as both are mappings."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from differences(old.get(name), new.get(name), f"{key}.{name}".lstrip("."))
    elif old != new:
        yield key, old, new


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
