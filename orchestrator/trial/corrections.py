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
from supernet.space import Architecture, Space


@dataclass(frozen=True)
class Correction:
    """A network whose file was measured over the budget, so that another one is derived.

    Attributes:
        architecture: Its id.
        measured_cost: Of its file.
    """

    architecture: str
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


def corrected(costs: CostTable, space: Space, corrections: Sequence[Correction]) -> CostTable:
    """Return the table by which none of these networks of its space keeps its budget.

    What it predicts is of the table as it is: one that was measured anew may know the networks better.
    """
    predicted = [costs.total(space.path(Architecture.parse(known.architecture))) for known in corrections]
    return raised(costs, [known.measured_cost / cost for known, cost in zip(corrections, predicted, strict=True)])


def raised(costs: CostTable, excesses: Sequence[float]) -> CostTable:
    """Return the table by which no network keeps its budget that was over it: the last one's measured over predicted
    cost is the factor, and a little more than the factor before in any case.
    """
    factor = 1.0
    for excess in excesses:
        factor = max(excess, factor * MIN_EXCESS)
    return costs.scaled(factor) if excesses else costs


def train_key(key: str, corrections: Sequence[Correction]) -> str:
    """Return the name of a trial's checkpoints under so many corrections."""
    return f"{key}-again{len(corrections)}" if corrections else key
