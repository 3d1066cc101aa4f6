"""Where one piece of work of a sweep is, as plain data: workers send it, views and curves are made of it.

Why here: who sends and who shows must not know each other. It must not know how news travel.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class News:
    """Where one piece of work is.

    Attributes:
        key: Trial key, or the name of work that all trials share.
        phase: For instance `table`, `warm-up`, `search`, `derive`, `train`, `measure`.
        step: Steps done.
        num_steps: Steps of the phase; 0 where they cannot be counted.
        numbers: Figures of the step by name, units in the name: `loss`, `expected_ms`.
        waits_for: What keeps it from going on, such as `a node that measures ort-cpu-1t`; empty while it goes on.
    """

    key: str
    phase: str
    step: int = 0
    num_steps: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    waits_for: str = ""
