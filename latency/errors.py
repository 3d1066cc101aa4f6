"""The errors of this room that a caller may want to tell apart; all are input or run errors (see `supernet.errors`).

Why here: a missing entry, a foreign table and a noisy machine have different remedies.
"""

from supernet.errors import InputError, RunError


class MissingLatency(InputError):
    """A table lacks an entry that the space needs; the message names layer, candidate and remedy."""


class ForeignTable(InputError):
    """A table was measured on something else than what it is asked about; the message says how to rebuild it."""


class NotRunnable(InputError):
    """This machine cannot run the target; the message says what is missing and what brings it."""


class MachineTooNoisy(RunError):
    """The machine was too busy to measure; nothing was written. The message says what was seen."""
