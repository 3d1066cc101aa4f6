"""Where one piece of work of a sweep is, as plain data: workers send it, views and curves are made of it.

Why here: who sends and who shows must not know each other. It must not know how news travel.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SHARED_KEY = "supernet"
"""Key of the work that all trials share."""


@dataclass(frozen=True)
class News:
    """Where one piece of work is.

    Attributes:
        key: Trial key, name of a target whose table is made, or `SHARED_KEY`.
        phase: For instance `latency table`, `warm-up`, `search`, `derive`, `train`, `measure`.
        step: Steps done.
        num_steps: Steps of the phase; 0 where they cannot be counted.
        numbers: Figures of the step by name, units in the name: `loss`, `expected_ms`.
        waits_for: What keeps it from going on, such as `a node that measures ort-cpu-1t`; empty while it goes on.
        rank: The training rank whose machine the figures are of, `step` seconds after 1970; None of the work itself.
        num_ranks: Ranks that hold their processors for it; None where the sender does not know.
    """

    key: str
    phase: str
    step: int = 0
    num_steps: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    waits_for: str = ""
    rank: int | None = None
    num_ranks: int | None = None

    @property
    def subject(self) -> str:
        """What newer news of the same replace these."""
        return self.key if self.rank is None else f"{self.key}/rank{self.rank}"
