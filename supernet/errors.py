"""The two kinds of error a user meets: what was written wrong, and what went wrong in the world.

Why here: every room raises them, and this is the lowest room. Each takes one string, so it survives
pickling between processes. The command line maps them to exit codes 2 and 1.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The user's input is wrong: place, value, what is allowed and the remedy stand in the message."""


class RunError(RuntimeError):
    """The world did not do what was needed: a device, a file, a process or a measurement failed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known name, or the list of known names.

    Args:
        name: What was written.
        known: Names that would have been accepted.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known) or 'none'}"
