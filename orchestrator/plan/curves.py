"""How a trial's search went, as plain data: expected cost and entropy of alpha over the steps.

Why here: trials write it, the report draws it. It must know neither.
"""

from dataclasses import dataclass

from orchestrator.data.storage import Storage
from supernet.errors import InputError
from supernet.plain import read_sealed

CURVE_FILE = "curve.json"


@dataclass(frozen=True)
class Point:
    """What alpha was after so many steps.

    Attributes:
        step: Steps done.
        expected_cost: Of the distribution, in the unit of the target.
        entropy: Mean entropy of a position, nats.
    """

    step: int
    expected_cost: float
    entropy: float


def stored_curve(store: Storage) -> tuple[Point, ...]:
    """Return the points that a trial's folder keeps; none where there is no curve, or it is damaged."""
    try:
        points: tuple[Point, ...] = read_sealed(tuple[Point, ...], store.read(CURVE_FILE), CURVE_FILE)
    except (InputError, OSError):
        return ()
    return points
