"""The measurement protocol: phases of shuffled rounds, each of which visits every item.

Why here: one protocol for tables, whole networks and verification. It knows neither models nor runtimes: it is
given callables that time themselves and a clock, so a simulated machine tests it in milliseconds.
`docs/latency.md` gives the reason for each rule, `summary.py` says what follows from the calls.
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

OpenPhase = Callable[[], AbstractContextManager[Mapping[str, TimeCalls]]]
"""Makes all items ready to be timed, afresh, for the length of a phase."""


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
        seconds: Measuring time wanted, over the first `phases` phases together.
        max_seconds: Time after which no further phase begins, making the items ready included.
        phases: Fewest phases.
        min_rounds: Fewest rounds of a phase, whatever time they take.
        visit_ms: One visit repeats its call for about so long.
        min_calls: Fewest timed calls of a visit.
        warm_ms: Each item first runs for so long, in each phase, and until it is known how many calls `visit_ms` are.
        warm_calls: Untimed calls at the start of each visit: they bring back its weights.
        tolerance: Items are settled when the root mean square of their relative errors is within this.
    """

    seconds: float = 8.0
    max_seconds: float = 24.0
    phases: int = 8
    min_rounds: int = 2
    visit_ms: float = 3.0
    min_calls: int = 4
    warm_ms: float = 10.0
    warm_calls: int = 2
    tolerance: float = 0.01


@dataclass
class Samples:
    """Timed calls of one item, in order: milliseconds, clean or not, and the phase and the visit of each."""

    ms: list[float] = field(default_factory=list)
    clean: list[bool] = field(default_factory=list)
    phases: list[int] = field(default_factory=list)
    visits: list[int] = field(default_factory=list)

    def add(self, calls: Sequence[Call], phase: int) -> None:
        """Append the calls of one visit."""
        visit = self.visits[-1] + 1 if self.visits else 0
        for call in calls:
            self.ms.append(call.ms)
            self.clean.append(call.clean)
            self.phases.append(phase)
            self.visits.append(visit)


def sample(
    open_phase: OpenPhase,
    plan: Plan,
    clock: Clock,
    rng: random.Random,
    *,
    settled: Callable[[Mapping[str, Samples]], bool],
    weights: Mapping[str, int] | None = None,
    known: Mapping[str, Samples] | None = None,
    before_round: Callable[[], None] = lambda: None,
    after_round: Callable[[float, Mapping[str, Samples]], None] = lambda seconds, samples: None,
) -> dict[str, Samples]:
    """Time all items in phases of interleaved rounds until they are settled, or the time is over.

    Args:
        open_phase: Makes the items ready for a phase.
        plan: How long and how carefully.
        clock: Tells when visits, phases and the whole are long enough.
        rng: Shuffles each round.
        settled: Asked after each phase from the fewest on: whether more are not needed.
        weights: Visits per round of single items, 1 if not named.
        known: Samples of an interrupted run, to go on from: its phases count, and at least one is added.
        before_round: Called before each round.
        after_round: Called with the measuring time so far and all samples: progress and checkpoints.

    Returns:
        All samples. Whether they are good enough is for the caller to judge, see `summary.summarise`.
    """
    samples = dict(known or {})
    phase = 1 + max((one.phases[-1] for one in samples.values() if one.phases), default=-1)
    begun, spent, done = clock.wall_ns(), 0.0, False
    while not done:
        with open_phase() as items:
            for key in items:
                samples.setdefault(key, Samples())
            visits = [key for key in items for _ in range((weights or {}).get(key, 1))]
            calls_per_visit = {key: _warm_up(run, plan, clock) for key, run in items.items()}
            start, num_rounds, now = clock.wall_ns(), 0, 0.0
            while num_rounds < plan.min_rounds or now < plan.seconds / plan.phases:
                before_round()
                for key in rng.sample(visits, len(visits)):
                    if plan.warm_calls:
                        items[key](plan.warm_calls)
                    samples[key].add(items[key](calls_per_visit[key]), phase)
                num_rounds += 1
                now = (clock.wall_ns() - start) / 1e9
                after_round(spent + now, samples)
        spent, phase = spent + now, phase + 1
        late = (clock.wall_ns() - begun) / 1e9 >= plan.max_seconds
        done = phase >= plan.phases and (late or settled(samples))
    return samples


def _warm_up(run: TimeCalls, plan: Plan, clock: Clock) -> int:
    """Run an item for as long as the plan says; return how many calls a visit takes."""
    if not plan.warm_ms and not plan.visit_ms:
        return plan.min_calls
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
