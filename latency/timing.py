"""The measurement protocol: phases of shuffled rounds, the fastest of many undisturbed calls, two that must agree.

Why here: one protocol for tables, whole networks and verification. It knows neither models nor runtimes: it is
given callables that time themselves and a clock, so a simulated machine tests it in milliseconds.
`docs/latency.md` gives the reason for each rule.
"""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from latency.runtimes.base import Call, Clock

TimeCalls = Callable[[int], Sequence[Call]]
"""Runs that many inferences and returns one `Call` each (see `runtimes.base.Program.time`)."""

SMALLEST_PHASE = 0.15
"""Share of a whole phase's time that even a single item gets: to open a phase has its price too."""

OpenPhase = Callable[[Sequence[str]], AbstractContextManager[Mapping[str, TimeCalls]]]
"""Makes these items ready to be timed, afresh, for the length of a phase."""


class HostClock:
    """The clock of this machine."""

    def wall_ns(self) -> int:
        """Return monotonic wall time."""
        return time.perf_counter_ns()

    def cpu_ns(self) -> int:
        """Return processor time of this process, all threads."""
        return time.process_time_ns()


@dataclass(frozen=True)
class Plan:
    """How long and how carefully to measure.

    Attributes:
        seconds: Measuring time wanted, over the first two phases together.
        max_seconds: Measuring time after which no further phase begins.
        min_rounds: Fewest rounds of a phase, whatever time they take.
        visit_ms: One visit repeats its call for about so long.
        min_calls: Fewest timed calls of a visit: with few calls, long items seldom meet an undisturbed moment.
        warm_ms: Each item first runs for so long, in each phase.
        warm_calls: Untimed calls at the start of each visit: they bring back its weights.
        tolerance: Floors of two phases that are within this fraction settle an item.
        enough: Floors of two phases that are within this fraction confirm each other.
        min_clean: Fewest undisturbed calls of a phase for its floor to count.
        max_floors: After so many phases with a floor a confirmed item stays as it is: more hardly help.
    """

    seconds: float = 8.0
    max_seconds: float = 24.0
    min_rounds: int = 4
    visit_ms: float = 3.0
    min_calls: int = 6
    warm_ms: float = 10.0
    warm_calls: int = 2
    tolerance: float = 0.01
    enough: float = 0.02
    min_clean: int = 3
    max_floors: int = 8


@dataclass
class Samples:
    """Timed calls of one item, in order: milliseconds, clean or not, and the phase of each."""

    ms: list[float] = field(default_factory=list)
    clean: list[bool] = field(default_factory=list)
    phases: list[int] = field(default_factory=list)

    def add(self, calls: Sequence[Call], phase: int) -> None:
        """Append the calls of one visit."""
        for call in calls:
            self.ms.append(call.ms)
            self.clean.append(call.clean)
            self.phases.append(phase)

    def floors(self, min_clean: int, since: int = 0) -> list[float]:
        """Return the fastest clean time of each phase from `since` on that has enough of them, lowest first."""
        clean: dict[int, list[float]] = {}
        for ms, ok, phase in zip(self.ms, self.clean, self.phases, strict=True):
            if ok and phase >= since:
                clean.setdefault(phase, []).append(ms)
        return sorted(min(times) for times in clean.values() if len(times) >= min_clean)


@dataclass(frozen=True)
class Stats:
    """What is known of one item, in milliseconds.

    Attributes:
        floor_ms: The lowest floor that two phases found, see `confirmed`: what the hardware needs.
        error_ms: By how much the two differ; infinite if there is no second one.
        median_ms: Median of all calls: what is typical at the moment.
        p10_ms: 10th percentile of all calls.
        num_samples: Timed calls.
        num_clean: Undisturbed ones.
    """

    floor_ms: float
    error_ms: float
    median_ms: float
    p10_ms: float
    num_samples: int
    num_clean: int

    @property
    def relative_error(self) -> float:
        """`error_ms` as a fraction of the floor."""
        return self.error_ms / self.floor_ms


def summarise(samples: Samples, plan: Plan) -> Stats:
    """Reduce the calls of one item, of which there is at least one."""
    ordered = sorted(samples.ms)
    clean = [ms for ms, ok in zip(samples.ms, samples.clean, strict=True) if ok]
    floor, error = confirmed(samples.floors(plan.min_clean), plan.enough)
    return Stats(
        floor_ms=min(clean, default=ordered[0]) if math.isinf(floor) else floor,
        error_ms=error,
        median_ms=ordered[len(ordered) // 2],
        p10_ms=ordered[len(ordered) // 10],
        num_samples=len(ordered),
        num_clean=len(clean),
    )


def confirmed(floors: Sequence[float], enough: float) -> tuple[float, float]:
    """Return the lowest floor that the next one confirms within this fraction, and by how much they differ.

    A process that lies luckily in memory is not what the network usually takes: of four floors the lowest may be
    passed over, of eight the two lowest. If none of these is confirmed, the one whose next is nearest is taken.
    """
    if len(floors) < 2:
        return (floors[0] if floors else math.inf), math.inf
    gaps = [floors[i + 1] - floors[i] for i in range(1 + len(floors) // 4)]
    agreeing = [i for i, gap in enumerate(gaps) if gap <= enough * floors[i]]
    chosen = agreeing[0] if agreeing else min(range(len(gaps)), key=lambda i: gaps[i] / floors[i])
    return floors[chosen], gaps[chosen]


def sample(
    keys: Sequence[str],
    open_phase: OpenPhase,
    plan: Plan,
    clock: Clock,
    rng: random.Random,
    *,
    weights: Mapping[str, int] | None = None,
    always: Sequence[str] = (),
    known: Mapping[str, Samples] | None = None,
    before_round: Callable[[], None] = lambda: None,
    after_round: Callable[[float, Mapping[str, Samples]], None] = lambda seconds, samples: None,
) -> dict[str, Samples]:
    """Time all items in phases of interleaved rounds until two phases agree on each, or the time is over.

    Two phases time everything; each further one only the items that are not settled yet, see `Plan`.

    Args:
        keys: What to time.
        open_phase: Makes items ready for a phase.
        plan: How long and how carefully.
        clock: Tells when visits, phases and the whole are long enough.
        rng: Shuffles each round.
        weights: Visits per round of single items, 1 if not named.
        always: Items of every phase, for instance reference kernels; they need not be certain.
        known: Samples of an interrupted run, to go on from.
        before_round: Called before each round.
        after_round: Called with the measuring time so far and all samples: progress and checkpoints.

    Returns:
        All samples. Whether they are certain is for the caller to judge, from `summarise`.
    """
    samples = {key: (known or {}).get(key, Samples()) for key in (*keys, *always)}
    phase = 1 + max((one.phases[-1] for one in samples.values() if one.phases), default=-1)
    first, spent, num_phases, todo = phase, 0.0, 0, list(keys)
    while todo and (num_phases < 2 or spent < plan.max_seconds):
        seconds = plan.seconds / 2 * max(SMALLEST_PHASE, len(todo) / len(keys))
        with open_phase([*todo, *always]) as items:
            visits = [key for key in items for _ in range((weights or {}).get(key, 1))]
            calls_per_visit = {key: _warm_up(run, plan, clock) for key, run in items.items()}
            start, num_rounds, now = clock.wall_ns(), 0, 0.0
            while num_rounds < plan.min_rounds or now < seconds:
                before_round()
                for key in rng.sample(visits, len(visits)):
                    if plan.warm_calls:
                        items[key](plan.warm_calls)
                    samples[key].add(items[key](calls_per_visit[key]), phase)
                num_rounds += 1
                now = (clock.wall_ns() - start) / 1e9
                after_round(spent + now, samples)
        spent, phase, num_phases = spent + now, phase + 1, num_phases + 1
        if num_phases > 1 or known:
            todo = [key for key in keys if _worth_more(samples[key], plan, first)]
    return samples


def _worth_more(samples: Samples, plan: Plan, first: int) -> bool:
    """Whether an item is not settled, and more phases since the first of this run can be expected to help."""
    floor, error = confirmed(samples.floors(plan.min_clean), plan.enough)
    if math.isinf(error) or error > plan.enough * floor:
        return True
    return error > plan.tolerance * floor and len(samples.floors(plan.min_clean, first)) < plan.max_floors


def _warm_up(run: TimeCalls, plan: Plan, clock: Clock) -> int:
    """Run an item for a while; return how many calls a visit takes."""
    start, num_calls = clock.wall_ns(), 1
    while True:
        before = clock.wall_ns()
        run(num_calls)
        now = clock.wall_ns()
        took_ms = (now - before) / 1e6
        if took_ms < plan.visit_ms / 2:
            num_calls *= 2
        elif (now - start) / 1e6 >= plan.warm_ms:
            return max(plan.min_calls, math.ceil(num_calls * plan.visit_ms / max(took_ms, plan.visit_ms, 1e-9)))
