"""What several commands take: options, and the sweep that a name stands for. Imports nothing heavy at the top."""

from typing import TYPE_CHECKING, Annotated

import typer

from supernet.errors import InputError, nearest

if TYPE_CHECKING:
    from orchestrator.plan.trials import Job
    from orchestrator.registry.store import Registry

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Storage = Annotated[str, typer.Option(envvar="ONEPATH_STORAGE", help="Folder or object store that holds the sweeps.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Import the operators that a network's file names: runs their code.")
]
RegistryAddress = Annotated[
    str | None, typer.Option(help="Address of the MLflow registry, instead of the one that the storage's sweeps name.")
]
SweepName = Annotated[str, typer.Argument(help="Name of the sweep.")]

STORAGE = "onepath-runs"


def stored_job(name: str, storage: str) -> "Job":
    """Return a sweep that was started before.

    Raises:
        InputError: If the storage holds no sweep of this name.
    """
    from orchestrator.data.storage import Storage as Folder
    from orchestrator.plan.continued import stored_config
    from orchestrator.plan.trials import CONFIG_FILE, Job, sweeps_in

    root = Folder(storage)
    store = root.child(name)
    if not store.exists(CONFIG_FILE):
        raise InputError(
            f"no sweep {name!r} in {root.uri}{nearest(name, sweeps_in(root))} (--storage names another place)"
        )
    return Job({**stored_config(store), "storage": root.uri}, "")


def open_registry_of(sweep: str, storage: str, address: str | None) -> "Registry":
    """Return the registry at an address, or the one of a sweep that was started before.

    Raises:
        InputError: If it is not there, or the storage holds no such sweep.
    """
    from orchestrator.registry.queue import open_registry
    from orchestrator.registry.store import Registry

    if address is not None:
        return Registry(address, create=False)
    opened: Registry = open_registry(stored_job(sweep, storage), create=False)
    return opened


def open_registries(storage: str, address: str | None) -> "list[Registry]":
    """Return the registry at an address, or those that the sweeps of a storage name.

    Raises:
        InputError: If there is none.
    """
    from orchestrator.data.storage import Storage as Folder
    from orchestrator.plan.trials import sweeps_in

    if address is not None:
        return [open_registry_of("", storage, address)]
    root = Folder(storage)
    sweeps = sweeps_in(root)
    if not sweeps:
        raise InputError(f"no sweep in {root.uri} (--storage names another place, --registry a registry)")
    first = {stored_job(name, storage).run.mlflow.tracking_uri: name for name in reversed(sweeps)}
    return [open_registry_of(name, storage, None) for name in first.values()]
