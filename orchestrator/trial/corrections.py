"""What a trial's networks were measured at over their budget, and the table as corrected by it.

Why here: a restart must correct alike, and another derivation must find nothing of the network before. It must not
know how networks are found or measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.data.storage import Storage
from orchestrator.plan.trials import CORRECTIONS_FILE
from orchestrator.trial.records import read_record, write_record
from supernet.cost import CostTable
from supernet.derive import MIN_EXCESS


@dataclass(frozen=True)
class Correction:
    """A network whose file was measured over the budget, so that another one is derived.

    Attributes:
        architecture: Its id.
        predicted_cost: By the table.
        measured_cost: Of its file.
    """

    architecture: str
    predicted_cost: float
    measured_cost: float


def corrections_of(store: Storage) -> tuple[Correction, ...]:
    """Return the corrections in a trial's folder, oldest first.

    Raises:
        DamagedFile: If their file is.
    """
    if not store.exists(CORRECTIONS_FILE):
        return ()
    known: tuple[Correction, ...] = read_record(store, CORRECTIONS_FILE, tuple[Correction, ...])
    return known


def keep_corrections(store: Storage, corrections: Sequence[Correction]) -> None:
    """Write what `corrections_of` returns."""
    write_record(store, CORRECTIONS_FILE, tuple(corrections))


def corrected(costs: CostTable, corrections: Sequence[Correction]) -> CostTable:
    """Return the table by which none of these networks keeps its budget.

    The last one's measured over predicted cost is the factor, and a little more than the factor before in any case.
    """
    factor = 1.0
    for known in corrections:
        factor = max(known.measured_cost / known.predicted_cost, factor * MIN_EXCESS)
    return costs.scaled(factor) if corrections else costs


def train_key(key: str, corrections: Sequence[Correction]) -> str:
    """Return the name of a trial's checkpoints under so many corrections."""
    return f"{key}-again{len(corrections)}" if corrections else key
