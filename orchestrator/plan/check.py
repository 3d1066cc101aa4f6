"""From YAML or plain data to a checked sweep, and back to plain data. Reads and checks; starts nothing.

Why here: every mistake that can be found without a device or a cluster is found here, with its place, and
ends with exit code 2 before anything starts.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from latency.measuring.job import why_not
from latency.target import Target
from orchestrator.data.format import MANIFEST_NAME
from orchestrator.data.sources.registry import check_source
from orchestrator.data.storage import Storage
from orchestrator.plan.baselines import WIDTHS, Baseline, known_network, made_from, written_out
from orchestrator.plan.config import RunConfig, WarmupConfig
from orchestrator.plan.continued import differences, stored_config
from orchestrator.plan.inherited import still_inherited
from orchestrator.plan.limits import check_limits
from orchestrator.plan.trials import CONFIG_FILE, Job, plan_trials
from supernet.errors import InputError
from supernet.objective import OBJECTIVES, ObjectiveSettings
from supernet.plain import read, to_plain
from supernet.presets import load_space, read_preset, space_definition
from supernet.search_settings import SearchSettings

CONVERTED = ("source", "validation_fraction", "test_fraction")
"""Keys under `data` that the converted images hang on; the rest is what is made of them."""

SEARCHING = (
    *("train_weights", "arch_every", "arch_batch_size", "arch_learning_rate", "arch_paths"),
    *("estimator", "num_samples", "objective", "prune"),
)
"""Settings of a search that a warm-up cannot have."""

TRAINING = ("learning_rate", "schedule", "momentum", "weight_decay", "label_smoothing", "sharing", "arch_every")
"""Settings of a search that frozen weights cannot have: every step is an architecture step, and nothing else moves."""

SHORT_SOURCE = 40
"""Characters of a source that a folder's name shows."""


def load_run(reference: str, **overrides: Any) -> RunConfig:
    """Read a sweep by preset name or YAML path; `overrides` replace top-level keys where not None.

    Raises:
        InputError: On anything that can be seen to be wrong without starting, naming the key and its place.
    """
    loaded, place = read_preset("runs", reference)
    if not isinstance(loaded, Mapping):
        raise InputError(f"{place}: {loaded!r}; expected a mapping with keys {', '.join(RunConfig.model_fields)}")
    merged = {**loaded, **{key: value for key, value in overrides.items() if value is not None}}
    config = check_run(merged, place)
    if not is_converted(config):
        _check_source(config.data.source, f"{place}.data.source")
    still_inherited(config, place)
    return config


def check_run(definition: Mapping[str, Any], place: str) -> RunConfig:
    """Validate plain data as a sweep, see `load_run`."""
    config: RunConfig = read(RunConfig, dict(definition), place)
    _check_parts(config, place)
    return config


def _check_parts(config: RunConfig, place: str) -> None:
    """Check what goes with what across sections, and that all names can be made."""
    load_space(config.space, f"{place}.space")
    config.load_targets(place)
    plan_trials(config, place)
    _check_baselines(config, f"{place}.baselines")
    _check_objective(config, place)
    check_limits(config, place)
    why = "a warm-up trains weights and nothing else; remove this key"
    _refuse_unused(config.warmup, WarmupConfig(num_steps=1), SEARCHING, f"{place}.warmup", why)
    if config.mode == "shared":
        why = "with mode 'shared' a search leaves the weights as they are; remove this key, or set mode: independent"
        _refuse_unused(config.search, SearchSettings(num_steps=1), TRAINING, f"{place}.search", why)
    if config.mode == "independent" and config.derive.recalibration_batches == 0:
        raise InputError(
            f"{place}.derive.recalibration_batches: 0; with mode 'independent' each search trains weights, whose paths "
            "share no statistics; give 1 or more, or remove this key"
        )
    if not config.search.train_weights:
        raise InputError(f"{place}.search.train_weights: 'mode' decides whether trials train weights; remove this key")
    if config.mode == "independent" and not config.search.arch_every:
        raise InputError(
            f"{place}.search.arch_every: 0 means that nothing is searched; with mode 'independent', give the number of "
            "weight steps per architecture step"
        )
    config.search_settings.check(f"{place}.search")
    sizes = {f"{label}.batch_size": getattr(config, label).batch_size for label in ("warmup", "search", "train")}
    sizes["search.arch_batch_size"] = config.search.arch_batch_size or config.search.batch_size
    for label, size in sizes.items():
        if size < config.workers.max:
            raise InputError(f"{place}.{label}: {size} images are too few for {config.workers.max} workers")
    for label, settings in (("warmup", config.warmup), ("search", config.search_settings)):
        num_paths = settings.sharing.num_shares if settings.train_weights else 1
        if settings.batch_size < (least := num_paths * config.workers.max):
            raise InputError(
                f"{place}.{label}.batch_size: {settings.batch_size} images are too few for {num_paths} paths on each "
                f"of {config.workers.max} workers; give at least {least}, or fewer paths in {label}.sharing"
            )


def _refuse_unused(asked: SearchSettings, plain: SearchSettings, unused: Iterable[str], place: str, why: str) -> None:
    """Refuse what is set of settings, or of what is below them, that nothing would read."""
    for name in unused:
        for key, _, value in differences(to_plain(getattr(plain, name)), to_plain(getattr(asked, name)), name):
            raise InputError(f"{place}.{key}: {value!r}; {why}")


def _check_baselines(config: RunConfig, place: str) -> None:
    """Refuse known networks that are none, that do not take the images, or whose trials could not be named apart."""
    if not config.baselines:
        return
    known: dict[str, int] = {}
    job = Job(resolved(config.model_copy(update={"baselines": []})), "")
    longest = max((target.name for target in config.load_targets()), key=len)
    for index, reference in enumerate(config.baselines):
        try:
            network = known_network(reference)
            inner, _ = made_from(job, Baseline(network, "", longest, 0.0), WIDTHS[-1])
            _ = inner.space  # runs every layer on an image's shape
        except InputError as error:
            raise InputError(f"{place}[{index}]: {error}") from error
        if network.name in known:
            both = f"it and {place}[{known[network.name]}] are both called {network.name!r}"
            raise InputError(f"{place}[{index}]: {both}; rename one")
        known[network.name] = index


def _check_objective(config: RunConfig, place: str) -> None:
    kind, reference = config.search.objective.kind, config.search.objective.reference
    limited = OBJECTIVES[kind].limited
    if config.sweep.points and not (limited or OBJECTIVES[kind].trades):
        able = sorted(name for name, objective in OBJECTIVES.items() if objective.limited or objective.trades)
        raise InputError(
            f"{place}: sweep.points goes with search.objective.kind {' or '.join(able)}; a weight of {kind!r} moves no "
            "network along the front"
        )
    if not config.sweep.points and bool(config.sweep.latency_weights) == limited:
        weighted = " or ".join(sorted(name for name, objective in OBJECTIVES.items() if not objective.limited))
        raise InputError(
            f"{place}: sweep.latency_weights goes with search.objective.kind {weighted}, budgets with the others; "
            f"got kind {kind!r}"
        )
    if reference and limited:
        raise InputError(f"{place}.search.objective.reference: budgets stand under 'sweep'; remove this key")
    if kind == "mul_log" and 0 < reference <= 1:
        raise InputError(
            f"{place}.search.objective.reference: {reference:g}; mul_log takes its logarithm, which changes sign at 1: "
            "give more, or use kind add_linear"
        )
    units = {"milliseconds" if target.unit == "ms" else "counts" for target in config.load_targets()}
    if reference and len(units) > 1:
        raise InputError(
            f"{place}.search.objective.reference: {reference:g} for targets in {' and in '.join(sorted(units))}; make "
            "a sweep of each, or remove this key: then it is the middle of each target's range"
        )
    if config.search.objective.weight != ObjectiveSettings().weight:
        raise InputError(f"{place}.search.objective.weight: weights stand under 'sweep'; remove this key")


def converted(config: RunConfig) -> Storage:
    """Return where a sweep keeps what it makes of its images: a folder whose name says what its content hangs on.

    A source whose name cannot stand in it as it is, such as a path, is told by the end of it and a hash.
    """
    data = config.data
    name = "".join(c if c.isalnum() else "-" for c in data.source)[-SHORT_SOURCE:].strip("-")
    if name != data.source:
        name = f"{name}-{hashlib.sha256(data.source.encode()).hexdigest()[:8]}"
    split = f"s{config.seed}-v{data.validation_fraction}-t{data.test_fraction}"
    return Storage(config.storage).child("data", f"{name}-{split}")


def is_converted(config: RunConfig) -> bool:
    """Whether a sweep that has begun has made all that it needs of its images, which may be gone then."""
    store = Storage(config.storage).child(config.name)
    if not store.exists(CONFIG_FILE) or not converted(config).exists(MANIFEST_NAME):
        return False
    stored = stored_config(store)
    data = stored.get("data") or {}
    return stored.get("seed") == config.seed and all(data.get(key) == getattr(config.data, key) for key in CONVERTED)


def _check_source(source: str, place: str) -> None:
    """Refuse a source that is not there. Only the driver needs it: the machines read what was made of it."""
    try:
        check_source(source)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def not_here(targets: Iterable[Target]) -> dict[str, str]:
    """Return which of the targets this machine cannot measure, each with the reason."""
    reasons = {target.name: why_not(target) for target in targets if target.measured}
    return {name: reason for name, reason in reasons.items() if reason}


def require_here(targets: Iterable[Target]) -> None:
    """Refuse targets that this machine cannot measure, where no other can join it.

    Raises:
        InputError: Naming them.
    """
    reasons = not_here(targets)
    if reasons:
        told = "\n  ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise InputError(
            f"targets that this machine cannot measure, and this sweep runs on it alone:\n  {told}\n"
            "leave them out (targets: in the configuration), or join a cluster with a machine that can (RAY_ADDRESS)"
        )


def resolved(config: RunConfig) -> dict[str, Any]:
    """Return the whole configuration as plain data, presets written out, as it is stored with a sweep."""
    plain: dict[str, Any] = config.model_dump(mode="json")
    plain["space"] = space_definition(config.space)
    plain["targets"] = [target.to_dict() for target in config.load_targets()]
    plain["storage"] = _absolute(plain["storage"])
    plain["baselines"] = [written_out(reference) for reference in config.baselines]
    if "/" in (plain["warmup"]["from"] or ""):  # else a name in the storage, wherever that moves
        plain["warmup"]["from"] = _absolute(plain["warmup"]["from"])
    return plain


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser().absolute())
