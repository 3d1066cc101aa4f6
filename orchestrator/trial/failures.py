"""What follows when a training job failed: another start, or the end with a reason. Reason and policy apart.

Why here: workers, the process that controls them and the one that started it are lost in different ways, and all of
them draw on one budget. It must not know Ray, nor how a job is started.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.data.storage import Storage
from supernet.errors import InputError, RunError

ATTEMPTS_FOLDER = "attempts"

# What a restart of the workers cannot mend: wrong input, failed searches, and mistakes in programs.
FINAL_ERRORS = (
    InputError,
    RunError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    TypeError,
    ValueError,
)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def is_final(error: BaseException) -> bool:
    """Whether no restart of the workers can mend an error; storage that went away may come back, a full one not."""
    cause = error.__cause__ if isinstance(error, RunError) and error.__cause__ else error
    if isinstance(cause, OSError):
        return cause.errno in NO_ROOM
    return isinstance(error, FINAL_ERRORS)


@dataclass(frozen=True)
class Failure:
    """Why a start of a job came to nothing.

    Attributes:
        reason: In one line.
        error: What no restart can mend; None where a process or a machine was lost.
    """

    reason: str
    error: InputError | RunError | None = None


@dataclass(frozen=True)
class FailurePolicy:
    """How many failures a job survives, whatever was lost.

    Attributes:
        max_failures: So many; a job is started at most once more often.
    """

    max_failures: int

    def again(self, failure: Failure, num_starts: int) -> bool:
        """Whether to start once more after so many starts, the last of which failed."""
        return failure.error is None and num_starts <= self.max_failures

    def end(self, key: str, failure: Failure, num_starts: int) -> InputError | RunError:
        """Return the error that ends a job, of the kind that the failure had."""
        if failure.error is not None:
            return type(failure.error)(f"{key}: {failure.error}")
        return RunError(
            f"{key}: failed {num_starts} times (checkpoint.max_failures: {self.max_failures}), the last time: "
            f"{failure.reason}; the same command goes on from the last checkpoint"
        )


class Starts:
    """Counts a job's starts under one driver in the storage, for the process that counts can be lost too.

    Args:
        store: The sweep's folder.
        key: Of the job.
        driver: Name of the driver; another one begins anew.
    """

    def __init__(self, store: Storage, key: str, driver: str) -> None:
        self._store, self._name, self._driver = store.child(ATTEMPTS_FOLDER), f"{key}.json", driver

    @property
    def count(self) -> int:
        """Starts so far; none where the file is damaged."""
        try:
            known = self._store.read_json(self._name) if self._store.exists(self._name) else {}
            return int(known["num_starts"]) if known.get("driver") == self._driver else 0
        except (RunError, LookupError, TypeError, ValueError):
            return 0

    def note(self) -> None:
        """Count one more, before it is made."""
        self._store.write_json(self._name, {"driver": self._driver, "num_starts": self.count + 1})

    def forget(self) -> None:
        """Begin anew: nothing was lost, and another try of the same driver has the whole budget."""
        self._store.remove(self._name)


def run_to_end(key: str, policy: FailurePolicy, starts: Starts, start: Callable[[], Failure | None]) -> None:
    """Start a job until it is done, or fails for good.

    Args:
        key: Of the job.
        policy: How many failures it survives.
        starts: Counts them.
        start: Makes one start, and returns why it came to nothing, or nothing.

    Raises:
        InputError: What a rank found wrong with the input.
        RunError: What a restart cannot mend, or the last reason if the job failed more often than it may.
    """
    failure: Failure | None = Failure("the process that had started it ended")
    while failure and policy.again(failure, starts.count):
        starts.note()
        failure = start()
        if failure is None or failure.error:
            starts.forget()
    if failure:
        raise policy.end(key, failure, starts.count)
