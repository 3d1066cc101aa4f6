"""The measurement protocol: shuffled interleaved rounds, the fastest of many undisturbed calls, halves that must agree.

Why here: one protocol for tables, whole networks and verification. It knows neither models nor runtimes: it is
given callables that time themselves and a clock, so a simulated machine tests it in milliseconds.
`docs/latency.md` gives the reason for each rule.
"""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from latency.runtimes.base import Call, Clock

TimeCalls = Callable[[int], Sequence[Call]]
"""Runs that many inferences and returns one `Call` each (see `runtimes.base.Program.time`)."""


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
        seconds: Measuring time wanted; rounds go on at least so long.
        max_seconds: Measuring time after which it ends, agreed or not.
        min_rounds: Fewest rounds over all items, whatever time they take.
        visit_ms: One visit repeats its call for about so long.
        min_calls: Fewest timed calls of a visit.
        warm_ms: Each item first runs for so long.
        warm_calls: Untimed calls at the start of each visit: they bring back its weights.
        tolerance: Halves of an item's rounds must have floors within this fraction.
        min_clean: Fewest undisturbed calls in either half of an item's rounds.
    """

    seconds: float = 8.0
    max_seconds: float = 24.0
    min_rounds: int = 8
    visit_ms: float = 3.0
    min_calls: int = 2
    warm_ms: float = 15.0
    warm_calls: int = 2
    tolerance: float = 0.02
    min_clean: int = 3


@dataclass
class Samples:
    """Timed calls of one item: milliseconds, clean or not, and the round of each."""

    ms: list[float] = field(default_factory=list)
    clean: list[bool] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)

    def add(self, calls: Sequence[Call], round_index: int) -> None:
        """Append the calls of one visit."""
        for call in calls:
            self.ms.append(call.ms)
            self.clean.append(call.clean)
            self.rounds.append(round_index)

    def half(self, parity: int) -> list[float]:
        """Return the clean times of even (0) or odd (1) rounds."""
        return [ms for ms, ok, r in zip(self.ms, self.clean, self.rounds, strict=True) if ok and r % 2 == parity]


@dataclass(frozen=True)
class Stats:
    """What is known of one item, in milliseconds.

    Attributes:
        floor_ms: Fastest clean call: what the hardware needs.
        error_ms: Difference between the floors of even and odd rounds; infinite without enough clean calls.
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


def summarise(samples: Samples, min_clean: int = 3) -> Stats:
    """Reduce the calls of one item.

    Args:
        samples: At least one call.
        min_clean: With fewer clean calls in one half of the rounds the error is infinite.
    """
    ordered = sorted(samples.ms)
    even, odd = samples.half(0), samples.half(1)
    enough = min(len(even), len(odd)) >= min_clean
    clean = even + odd
    return Stats(
        floor_ms=min(clean) if clean else ordered[0],
        error_ms=abs(min(even) - min(odd)) if enough else math.inf,
        median_ms=ordered[len(ordered) // 2],
        p10_ms=ordered[len(ordered) // 10],
        num_samples=len(ordered),
        num_clean=len(clean),
    )


def sample(
    items: Mapping[str, TimeCalls],
    plan: Plan,
    clock: Clock,
    rng: random.Random,
    *,
    weights: Mapping[str, int] | None = None,
    known: Mapping[str, Samples] | None = None,
    first_round: int = 0,
    before_round: Callable[[int], None] = lambda round_index: None,
    after_round: Callable[[int, float, dict[str, Samples]], None] = lambda round_index, seconds, samples: None,
) -> dict[str, Samples]:
    """Time all items in interleaved rounds until they are certain enough or the time is over.

    Args:
        items: What to time.
        plan: How long and how carefully.
        clock: Tells when visits, rounds and the whole are long enough.
        rng: Shuffles each round.
        weights: Visits per round of single items, 1 if not named.
        known: Samples of an interrupted run, to go on from.
        first_round: Index of the next round after an interrupted run.
        before_round: Called with the round's index, before it is timed.
        after_round: Called with index, seconds so far and all samples: progress and checkpoints.

    Returns:
        All samples. Whether they are certain is for the caller to judge, from `summarise`.
    """
    samples = {key: (known or {}).get(key, Samples()) for key in items}
    start = clock.wall_ns()
    calls_per_visit = {key: _warm_up(run, plan, clock) for key, run in items.items()}
    start_rounds = clock.wall_ns()
    visits = [key for key in items for _ in range((weights or {}).get(key, 1))]
    round_index, todo = first_round, visits
    while todo:
        before_round(round_index)
        order = rng.sample(todo, len(todo))
        for key in order:
            if plan.warm_calls:
                items[key](plan.warm_calls)
            samples[key].add(items[key](calls_per_visit[key]), round_index)
        round_index += 1
        now = clock.wall_ns()
        after_round(round_index, (now - start) / 1e9, samples)
        seconds = (now - start_rounds) / 1e9
        if round_index - first_round < plan.min_rounds:
            continue
        if seconds >= plan.max_seconds:
            break
        if seconds >= plan.seconds:
            todo = [key for key in visits if not _certain(samples[key], plan)]
    return samples


def _certain(samples: Samples, plan: Plan) -> bool:
    return summarise(samples, plan.min_clean).relative_error <= plan.tolerance


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
