"""Where the time of a sweep goes: news folded into seconds of each phase of each piece of work, and their sums.

Why here: whether a night was spent on searching or on waiting is said by numbers. A pure fold with the clock passed in;
it must not know how news travel, where a ledger is kept, nor how it is shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.plan.news import News
from supernet.plain import to_plain

PROPER = (
    "latency table",
    "warm-up",
    "judge paths",
    "search",
    "derive",
    "train",
    "evaluate",
    "measure",
)
"""Phases that are work, in their order; all else (starting workers, imports, waits, exports) is overhead."""

ON_DEVICE = ("latency table", "measure")
"""Phases that keep the device of a target busy."""

WAIT, BETWEEN = "wait", "start and end"
SWEEP = "sweep"
"""Key of the time in which nothing else goes on: Ray starts, Ray Tune does, networks are registered."""


@dataclass(frozen=True)
class Spent:
    """What one phase of one piece of work took.

    Attributes:
        key: Trial key, or the name of work that all trials share.
        phase: One of `PROPER`, or another, which is overhead.
        seconds: Of the wall; pieces of work that go on beside each other are each counted.
        device_seconds: Of the processors of ranks (GPUs, or cores where they have none) and of targets that measure.
    """

    key: str
    phase: str
    seconds: float
    device_seconds: float

    @property
    def overhead(self) -> bool:
        """Whether this is neither training nor searching, judging nor measuring."""
        return self.phase not in PROPER


@dataclass(frozen=True)
class Run:
    """One run of a driver, from its start to its end or to the last time that its ledger was kept.

    Attributes:
        wall_seconds: In all.
        forecast: Seconds per phase, and in all as `wall`, that were forecast for the whole sweep at most, and as
            `least`; empty for none.
        spent: Per piece of work and phase.
    """

    wall_seconds: float
    forecast: Mapping[str, float]
    spent: tuple[Spent, ...]


class Ledger:
    """Adds up where the time goes from looks at the news; a stretch between two looks belongs to the earlier one.

    Args:
        now: Seconds of any monotonic clock.
        rank_devices: Processors of a rank.
        forecast: See `Run`.
    """

    def __init__(self, now: float, rank_devices: float = 1.0, forecast: Mapping[str, float] | None = None) -> None:
        self.began = self._last = now
        self.rank_devices, self.forecast = rank_devices, forecast or {}
        self._going_on: dict[str, tuple[str, int]] = {}
        self._sums: dict[tuple[str, str], list[float]] = {}

    def look(self, news: Mapping[str, News], now: float) -> None:
        """Count the time since the last look, and take what goes on now: the latest news of work that is not over."""
        seconds, self._last = now - self._last, now
        for key, (phase, num_ranks) in self._going_on.items():
            devices = num_ranks * self.rank_devices + (phase in ON_DEVICE)
            self._add(key, phase, seconds, seconds * devices)
        if not self._going_on:
            self._add(SWEEP, BETWEEN, seconds, 0.0)
        before = self._going_on
        self._going_on = {
            key: (_phase(item), before.get(key, ("", 0))[1] if item.num_ranks is None else item.num_ranks)
            for key, item in news.items()
            if item.rank is None
        }

    def _add(self, key: str, phase: str, seconds: float, device_seconds: float) -> None:
        sums = self._sums.setdefault((key, phase), [0.0, 0.0])
        sums[0] += seconds
        sums[1] += device_seconds

    def run(self) -> Run:
        """Return what was counted so far."""
        spent = tuple(Spent(*where, *sums) for where, sums in self._sums.items())
        return Run(self._last - self.began, self.forecast, spent)


def _phase(news: News) -> str:
    """Return what a phase counts as: a wait for a device is one, whatever it is for."""
    phase = news.phase.partition(":")[0]
    return WAIT if news.waits_for and phase in PROPER else phase


@dataclass(frozen=True)
class Total:
    """A ledger over all runs of a sweep.

    Attributes:
        num_runs: Runs of a driver.
        wall_seconds: Of all runs.
        forecast: Of the first run, which had all before it.
        spent: Per piece of work and phase: pieces in the order in which they began, phases in that of `PROPER`.
    """

    num_runs: int
    wall_seconds: float
    forecast: Mapping[str, float]
    spent: tuple[Spent, ...]

    @property
    def seconds(self) -> float:
        """Of all work, as if nothing had gone on beside anything."""
        return sum(spent.seconds for spent in self.spent)

    @property
    def overhead_share(self) -> float:
        """Share of `seconds` that is overhead, 0..1."""
        return sum(spent.seconds for spent in self.spent if spent.overhead) / max(self.seconds, 1e-9)

    @property
    def device_hours(self) -> float:
        """Of ranks' processors and targets."""
        return sum(spent.device_seconds for spent in self.spent) / 3600

    def by_phase(self) -> list[Spent]:
        """Return what each phase took, over all work."""
        return [_sum("", phase, [s for s in self.spent if s.phase == phase]) for phase in phases(self.spent)]

    def by_key(self) -> dict[str, list[Spent]]:
        """Return the phases of each piece of work."""
        keys = dict.fromkeys(spent.key for spent in self.spent)
        return {key: [spent for spent in self.spent if spent.key == key] for key in keys}

    def to_plain(self) -> dict[str, Any]:
        """Return what `ledger.json` holds; units stand in the names."""
        return {
            "num_runs": self.num_runs,
            "wall_seconds": self.wall_seconds,
            "forecast_seconds": dict(self.forecast),
            "work_seconds": self.seconds,
            "overhead_share": self.overhead_share,
            "device_hours": self.device_hours,
            "spent": [to_plain(spent) | {"overhead": spent.overhead} for spent in self.spent],
        }


def total(runs: Iterable[Run]) -> Total:
    """Return the sum over the runs of a sweep, oldest first."""
    runs = list(runs)
    places: dict[tuple[str, str], list[Spent]] = {}
    for one in (spent for run in runs for spent in run.spent):
        places.setdefault((one.key, one.phase), []).append(one)
    keys = list(dict.fromkeys(key for key, _ in places))
    order = phases(spent for found in places.values() for spent in found)
    spent = [_sum(key, phase, places[key, phase]) for key in keys for phase in order if (key, phase) in places]
    forecast = next((run.forecast for run in runs if run.forecast), {})
    return Total(len(runs), sum(run.wall_seconds for run in runs), forecast, tuple(spent))


def phases(spent: Iterable[Spent]) -> list[str]:
    """Return the phases that there are: work in its order, then overhead, the dearest first."""
    seconds: dict[str, float] = {}
    for one in spent:
        seconds[one.phase] = seconds.get(one.phase, 0.0) + one.seconds
    rest = sorted(seconds.keys() - set(PROPER), key=lambda phase: (-seconds[phase], phase))
    return [*(phase for phase in PROPER if phase in seconds), *rest]


def _sum(key: str, phase: str, spent: list[Spent]) -> Spent:
    return Spent(key, phase, sum(s.seconds for s in spent), sum(s.device_seconds for s in spent))
