"""What a network takes on its target, and what several measurements of the same file come to.

It must not know how a file is measured, nor what is allowed.
"""

from dataclasses import dataclass, replace
from math import hypot
from typing import Self

from latency.measuring.measure import SURE, Measurement


@dataclass(frozen=True)
class NetworkCost:
    """What a network takes on its target, in the unit of the target's table.

    Attributes:
        value: Fastest undisturbed call, or what was counted. Beside networks of the table, as on the machine that it
            was measured on, unless that has become slower by too much to be so for all alike: the higher figure counts
            where it is not known. So are error and median.
        error: Its standard error; 0 for a count, None if not known.
        median: Median of all calls, or what was counted.
        noise: Why the machine was too disturbed for the figures to be believed, or empty.
        moved: By how much it is slower or faster than when its table was measured, where that is too much.
        slowed: Whether it is slower by that much, and the value what it took then.
    """

    value: float
    error: float | None
    median: float
    noise: str
    moved: str = ""
    slowed: bool = False

    @property
    def disturbed(self) -> str:
        """Why the value may be more than the network takes, or empty: disturbances only add."""
        return "; ".join(filter(None, (self.noise, self.moved if self.slowed else "")))

    @classmethod
    def measured(cls, found: Measurement) -> Self:
        """Return what was measured, in milliseconds."""
        counts = found if found.slowed else found.as_known
        return cls(counts.latency_ms, counts.error_ms, counts.median_ms, found.noise, found.moved, found.slowed)

    @classmethod
    def counted(cls, count: float) -> Self:
        """Return what a target that measures nothing counts."""
        return cls(count, 0.0, count, "")


@dataclass(frozen=True)
class Timing:
    """What was measured of the delivered file.

    Attributes:
        file_sha256: Checksum of that file.
        costs: What it took, each time that it was measured.
    """

    file_sha256: str
    costs: tuple[NetworkCost, ...]

    @property
    def cost(self) -> NetworkCost:
        """What it takes: what all say that do not differ from the fastest by more than their errors.

        Disturbances only add, so the others are left out, and those that say themselves that they were disturbed. The
        fastest alone would be too fast, for errors go both ways.
        """
        calm = [cost for cost in self.costs if not cost.disturbed] or self.costs
        fastest = min(calm, key=lambda cost: cost.value)
        least = fastest.error or 0.0
        known = [(cost, cost.error) for cost in calm if cost.error]
        alike = [(cost, error) for cost, error in known if cost.value - fastest.value <= SURE * hypot(error, least)]
        if not least or len(alike) == 1:
            return fastest
        whole = sum(error**-2 for _, error in alike)
        value = sum(cost.value * error**-2 for cost, error in alike) / whole
        median = sum(cost.median * error**-2 for cost, error in alike) / whole
        return replace(fastest, value=value, median=median, error=whole**-0.5)
