"""What several commands take: options, and the registry that a name stands for. Imports nothing heavy at the top."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from supernet.errors import InputError

if TYPE_CHECKING:
    from orchestrator.data.storage import Storage as Folder
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


def open_registry_of(sweep: str, storage: str, address: str | None) -> "Registry":
    """Return the registry at an address, or the one of a sweep that was started before, or the storage's own.

    Raises:
        InputError: If it is not there, or the storage holds neither such a sweep nor a registry.
    """
    from orchestrator.data.storage import Storage as Folder
    from orchestrator.plan.continued import stored_job
    from orchestrator.plan.trials import CONFIG_FILE
    from orchestrator.registry.queue import open_registry
    from orchestrator.registry.store import Registry

    root = Folder(storage)
    if address is None and not root.child(sweep).exists(CONFIG_FILE):
        address = _own_registry(root)
    if address is not None:
        return Registry(address, create=False)
    try:
        job = stored_job(sweep, storage)
    except InputError as error:
        raise InputError(f"{error}; --registry names a registry") from error
    return open_registry(job, create=False)


def _own_registry(root: "Folder") -> str | None:
    """Return the address of the registry beside the sweeps of a storage, where there is one.

    It has networks under names of their own too (`onepath register`).
    """
    from orchestrator.plan.addresses import EMBEDDED, embedded_registry

    return embedded_registry(root.uri) if root.is_local and root.exists(EMBEDDED) else None


def open_registries(storage: str, address: str | None) -> "list[Registry]":
    """Return the registry at an address, or those that the sweeps of a storage name, and the storage's own.

    A folder that does not read as a sweep's, and a registry that is lost or does not answer, are left out, and told on
    standard error.

    Raises:
        InputError: If there is none.
        RunError: If none answers.
    """
    from orchestrator.data.storage import Storage as Folder
    from orchestrator.plan.continued import stored_job
    from orchestrator.plan.trials import sweeps_in
    from orchestrator.registry.queue import open_registry
    from orchestrator.registry.server import RegistryAway
    from orchestrator.registry.store import Registry

    if address is not None:
        return [Registry(address, create=False)]
    root = Folder(storage)
    first: dict[str | None, Job] = {}
    for name in reversed(sweeps_in(root)):
        try:
            job = stored_job(name, storage)
            first[job.run.mlflow.tracking_uri] = job
        except InputError as error:
            print(f"onepath: left out: {error}", file=sys.stderr)
    own = _own_registry(root)
    if not first and own is None:
        raise InputError(f"no sweep in {root.uri} (--storage names another place, --registry a registry)")
    opened, away = list[Registry](), list[Exception]()
    for job in first.values():
        try:
            opened.append(open_registry(job, create=False))
        except (InputError, RegistryAway) as error:
            away.append(error)
    if own is not None and not {None, own} & first.keys():
        opened.append(Registry(own, create=False))
    if not opened:
        raise away[0]
    for reason in away:
        print(f"onepath: left out: {reason}", file=sys.stderr)
    return opened
