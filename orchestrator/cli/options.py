"""What several commands take: options, and the sweep that a name stands for. Imports nothing heavy at the top."""

from typing import TYPE_CHECKING, Annotated

import typer

from supernet.errors import InputError, nearest

if TYPE_CHECKING:
    from orchestrator.plan.trials import Job

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Storage = Annotated[str, typer.Option(envvar="ONEPATH_STORAGE", help="Folder or object store that holds the sweeps.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Import the operators that a network's file names: runs their code.")
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
    from orchestrator.plan.trials import CONFIG_FILE, Job

    root = Folder(storage)
    store = root.child(name)
    if not store.exists(CONFIG_FILE):
        known = [found for found in root.names() if root.child(found).exists(CONFIG_FILE)]
        raise InputError(f"no sweep {name!r} in {root.uri}{nearest(name, known)} (--storage names another place)")
    return Job({**stored_config(store), "storage": root.uri}, "")
