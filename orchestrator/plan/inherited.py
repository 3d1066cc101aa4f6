"""The supernet of an earlier sweep that a warm-up goes on from: found, and held against the space. Loads no weights.

Why here: that it does not fit is seen before anything starts. It must not know how a warm-up runs.
"""

from dataclasses import dataclass, replace

from orchestrator.data.storage import Storage
from orchestrator.plan.config import RunConfig, WarmupConfig
from orchestrator.plan.continued import stored_config
from orchestrator.plan.trials import CONFIG_FILE, WARMUP_FILE, sweeps_in, warmup_saved
from supernet.errors import InputError, nearest
from supernet.plain import read
from supernet.presets import load_space
from supernet.space import Space


@dataclass(frozen=True)
class Inherited:
    """A warmed-up supernet of an earlier sweep.

    Attributes:
        store: The sweep's folder.
        space: Its space, with its own number of classes.
        warmup: How it was warmed up.
    """

    store: Storage
    space: Space
    warmup: WarmupConfig


def still_inherited(run: RunConfig, place: str = "") -> Inherited | None:
    """Return what `inherited` does; None too where the warm-up has a checkpoint of its own to go on from."""
    store = Storage(run.storage).child(run.name)
    return None if warmup_saved(store) else inherited(run, place)


def inherited(run: RunConfig, place: str = "") -> Inherited | None:
    """Return what a sweep's warm-up goes on from, or None where it begins afresh or is done.

    Args:
        run: The sweep.
        place: Where its configuration stands, for messages.

    Raises:
        InputError: If there is no such sweep, it has no warmed-up supernet yet, its space differs in more than the
            number of classes, or its blocks began in another way, which decides how paths are judged.
    """
    origin, root, where = run.warmup.origin, Storage(run.storage), f"{place}.warmup.from".lstrip(".")
    if origin is None or root.child(run.name).exists(WARMUP_FILE):
        return None
    store = Storage(origin) if "/" in origin else root.child(origin)
    if not store.exists(CONFIG_FILE):
        near = nearest(origin, sweeps_in(root))
        raise InputError(f"{where}: no sweep at {store.uri}{near}; give a name or a sweep's folder")
    if not store.exists(WARMUP_FILE):
        raise InputError(f"{where}: {store.uri} has no warmed-up supernet yet; run that sweep so far first")
    config, file = stored_config(store), f"{store.uri}/{CONFIG_FILE}"
    space, own = load_space(run.space), load_space(config.get("space", {}), f"{file}.space")
    if replace(own, num_classes=space.num_classes) != space:
        raise InputError(
            f"{where}: {store.uri} has searched another space ({own.name}, {own.num_architectures:,} architectures; "
            f"here {space.name}, {space.num_architectures:,}); all but the number of classes must be the same"
        )
    warmup: WarmupConfig = read(WarmupConfig, config.get("warmup"), f"{file}.warmup")
    began, asked = warmup.sharing.zero_init_residual, run.warmup.sharing.zero_init_residual
    if began != asked:
        raise InputError(
            f"{where}: the supernet of {store.uri} began with zero_init_residual {began}, here it is {asked}; paths "
            f"are judged by it, so write `sharing: {{zero_init_residual: {str(began).lower()}}}` under `warmup`"
        )
    return Inherited(store, own, warmup)
