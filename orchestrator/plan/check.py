"""From YAML or plain data to a checked sweep, and back to plain data. Reads and checks; starts nothing.

Why here: every mistake that can be found without a device or a cluster is found here, with its place, and
ends with exit code 2 before anything starts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.plan.config import ALL_TARGETS, RunConfig
from supernet.cost import trace
from supernet.errors import InputError, nearest
from supernet.objective import OBJECTIVES
from supernet.plain import read
from supernet.presets import load_space, read_preset, space_definition


def load_run(reference: str, **overrides: Any) -> RunConfig:
    """Read a sweep by preset name or YAML path; `overrides` replace top-level keys where not None.

    Raises:
        InputError: On anything that can be seen to be wrong without starting, naming the key and its place.
    """
    loaded, place = read_preset("runs", reference)
    if not isinstance(loaded, Mapping):
        raise InputError(f"{place}: {loaded!r}; expected a mapping with keys {', '.join(RunConfig.model_fields)}")
    merged = {**loaded, **{key: value for key, value in overrides.items() if value is not None}}
    return check_run(merged, place)


def check_run(definition: Mapping[str, Any], place: str) -> RunConfig:
    """Validate plain data as a sweep, see `load_run`."""
    config: RunConfig = read(RunConfig, dict(definition), place)
    _check_parts(config, place)
    return config


def _check_parts(config: RunConfig, place: str) -> None:
    trace(load_space(config.space, f"{place}.space"))
    names = [target.name for target in config.load_targets()]
    budgets = config.sweep.budgets_ms
    if budgets and ALL_TARGETS not in budgets:
        for name in budgets:
            if name not in names:
                raise InputError(f"{place}.sweep.budgets_ms: unknown target {name!r}{nearest(name, names)}")
        missing = [name for name in names if not budgets.get(name)]
        if missing:
            raise InputError(f"{place}.sweep.budgets_ms: no budget for {', '.join(missing)}")
    kind = config.search.objective.kind
    limited = OBJECTIVES[kind].limited
    if bool(config.sweep.latency_weights) == limited:
        weighted = " or ".join(sorted(name for name, objective in OBJECTIVES.items() if not objective.limited))
        raise InputError(
            f"{place}: sweep.latency_weights goes with search.objective.kind {weighted}, budgets with the others; "
            f"got kind {kind!r}"
        )
    if config.search.objective.reference and limited:
        raise InputError(f"{place}.search.objective.reference: budgets stand under 'sweep'; remove this key")
    sizes = {f"{label}.batch_size": getattr(config, label).batch_size for label in ("warmup", "search", "train")}
    sizes["search.arch_batch_size"] = config.search.arch_batch_size or config.search.batch_size
    for label, size in sizes.items():
        if size < config.workers.max:
            raise InputError(f"{place}.{label}: {size} images are too few for {config.workers.max} workers")


def resolved(config: RunConfig) -> dict[str, Any]:
    """Return the whole configuration as plain data, presets written out, as it is stored with a sweep."""
    plain: dict[str, Any] = config.model_dump(mode="json")
    plain["space"] = space_definition(config.space)
    plain["targets"] = [target.to_dict() for target in config.load_targets()]
    if "://" not in plain["storage"]:
        plain["storage"] = str(Path(plain["storage"]).expanduser().absolute())
    return plain
