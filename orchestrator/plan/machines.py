"""On what each target of a sweep was measured: figures of two machines, or of two runtimes, are not for one front.

Why here: tables are shared by sweeps and made anew on another machine; what is finished stays. It must not know how
anything is measured.
"""

from collections.abc import Mapping
from typing import Any

from latency.tables.fingerprint import differences
from orchestrator.data.storage import Storage
from orchestrator.plan.continued import begun
from orchestrator.plan.stored import known_trials
from orchestrator.plan.trials import Job
from supernet.errors import InputError
from supernet.plain import read_sealed, to_sealed

FOLDER = "machines"


def require_same(job: Job, target: str, fingerprint: Mapping[str, Any]) -> None:
    """Note what a target is measured on, or compare it with what its trials that have begun were measured on.

    Args:
        job: The sweep.
        target: Name of a measured target.
        fingerprint: Of its table.

    Raises:
        InputError: If that is something else, with the differences and the remedies.
    """
    folder, name = job.store.child(FOLDER), f"{target}.json"
    own = {trial.key for trial in known_trials(job) if trial.target == target}
    if own & begun(job) and folder.exists(name):
        unlike = differences(_noted(folder, name), fingerprint)
        if not unlike:
            return
        raise InputError(
            f"{target}: trials of this sweep were measured on something else ({'; '.join(unlike)}). Go on where they "
            f"were, or start a sweep of another name (--name); to have both on one front, remove {folder.uri}/{name}"
        )
    folder.write(name, to_sealed(dict(fingerprint)).encode())


def versions_of(job: Job, target: str) -> dict[str, str]:
    """Return the versions of the packages that a target's figures are of; none where it is not noted.

    Raises:
        InputError: If the note is damaged.
    """
    folder, name = job.store.child(FOLDER), f"{target}.json"
    return dict(_noted(folder, name).get("versions", {})) if folder.exists(name) else {}


def _noted(folder: Storage, name: str) -> dict[str, Any]:
    try:
        noted: dict[str, Any] = read_sealed(dict[str, Any], folder.read(name), f"{folder.uri}/{name}")
    except InputError as error:
        raise InputError(f"{error}; remove it if the sweep has always been measured where it is now") from error
    return noted
