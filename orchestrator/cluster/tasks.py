"""What a Ray task came to: its value, or its error as itself. It must not know what is computed.

Why here: Ray wraps what goes wrong elsewhere, with the traceback of the other machine; a user reads one line.
"""

from typing import Any

import ray

from supernet.errors import InputError, RunError

LOST = ray.exceptions.RayError
"""What Ray raises where a process, a machine or a service of the cluster is lost: another start may mend it."""


def result_of(task: Any, place: str) -> Any:
    """Wait for a task and return its value.

    Raises:
        InputError, RunError: What the task raised, as it raised it.
        RunError: If it ended in another way, naming `place`.
    """
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError | RunError):
            raise error.cause from None
        raise RunError(f"{place}: {last_line(error)}") from error
    except ray.exceptions.RayError as error:
        raise RunError(f"{place}: {last_line(error)}") from error


def last_line(error: BaseException) -> str:
    """Return what an error says in one line, without the traceback that Ray puts before it."""
    text = str(error).strip()
    return text.splitlines()[-1] if text else type(error).__name__
