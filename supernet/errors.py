"""The two kinds of error a user meets: what was written wrong, and what went wrong in the world.

Why here: every room raises them, and this is the lowest room. Each takes one string, so it survives
pickling between processes. The command line maps them to exit codes 2 and 1.
"""

import difflib
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


class InputError(ValueError):
    """The user's input is wrong: place, value, what is allowed and the remedy stand in the message."""


class SecretError(InputError):
    """What was written holds a secret; no message shows it."""


class RunError(RuntimeError):
    """The world did not do what was needed: a device, a file, a process or a measurement failed."""


def error_to_plain(error: InputError | RunError) -> dict[str, object]:
    """Return an error as JSON-ready plain data for another process, read back by `error_from_plain`."""
    kinds = [kind.__name__ for kind in type(error).__mro__ if issubclass(kind, InputError | RunError)]
    return {"error": kinds, "text": str(error)}


def error_from_plain(plain: Mapping[str, object]) -> InputError | RunError:
    """Return an error as the kind that it was, or as the nearest kind above it that this process has imported."""
    known = {kind.__name__: kind for root in (InputError, RunError) for kind in (root, *_below(root))}
    names = plain["error"]
    assert isinstance(names, list)
    return next(known[name] for name in names if name in known)(str(plain["text"]))


def _below(kind: type[InputError | RunError]) -> Iterator[type[InputError | RunError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)


def away(error: OSError) -> str:
    """Return what is said of a file or a store that cannot be used now: it is away, full, or gives no rights."""
    return f"a file or a store cannot be used now ({error}); the same command tries again"


def where(error: BaseException) -> str:
    """Return what is said of an error that nobody foresaw, in one line: kind, text and place in the code."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{': '.join(filter(None, (type(error).__name__, text)))} ({Path(last.filename).name}:{last.lineno})"


def reason_of(error: BaseException) -> str:
    """Return in one line what is said of whatever went wrong."""
    if isinstance(error, InputError | RunError):
        return str(error)
    return away(error) if isinstance(error, OSError) else where(error)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known name, or the list of known names.

    Args:
        name: What was written.
        known: Names that would have been accepted.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known) or 'none'}"
