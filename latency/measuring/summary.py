"""From timed calls to figures: what all items do together is the machine's doing, what is left is their own.

Pure numbers. A shared machine is some per cent slower in one phase than in the next, and every item with it; because
each phase times every item, their ratios are free of that. What the hardware needs is told by the fastest calls, but
which item had its luckiest one is chance: how far below the usual they lie is taken from the median of many.
"""

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from latency.measuring.timing import Samples
from supernet.plain import Unbounded

MIN_ITEMS = 5
"""With fewer items in a phase, what they do together cannot be told from what each does."""

MAX_MOVED = 0.15
"""What slows down all items alike is taken out of their figures. A phase in which they are slower or faster by more
than this than in the typical one was hardly so for all of them alike, and is left out."""


@dataclass(frozen=True)
class Stats:
    """What is known of one item.

    Attributes:
        latency_ms: Milliseconds of a call that nothing disturbs: what the hardware needs. A lone item's fastest.
        error_ms: Standard error of it, from the spread over the phases; that of the level, which all items share, is
            left out. Infinite with fewer than two phases.
        repeat: Relative difference of what odd and even phases found, the machine's moves taken out.
        median_ms: Median of all calls: what is typical at the moment.
        p10_ms: 10th percentile of all calls.
        num_samples: Timed calls.
        num_clean: Undisturbed ones.
    """

    latency_ms: float
    error_ms: Unbounded
    repeat: Unbounded
    median_ms: float
    p10_ms: float
    num_samples: int
    num_clean: int

    @property
    def relative_error(self) -> float:
        """`error_ms` as a fraction of the latency."""
        return self.error_ms / self.latency_ms


@dataclass(frozen=True)
class Summary:
    """What is known of all items of a run.

    Attributes:
        stats: Per item.
        moved: By how much slower the machine was in the slowest phase that counts than in the fastest, as a fraction.
        num_phases: Phases that count: every item had undisturbed calls, and they were like the typical one.
        unlike: Phases in which all items together were slower or faster than in that by more than `MAX_MOVED`.
    """

    stats: dict[str, Stats]
    moved: float
    num_phases: int
    unlike: frozenset[int] = frozenset()


def summarise(
    samples: Mapping[str, Samples], level: Collection[str] = (), left_out: Collection[int] = frozenset()
) -> Summary:
    """Reduce the calls of a run; each item has at least one.

    log(time of an item in a phase) = the item's + the phase's + noise. The phase's is the median over the items.

    Args:
        samples: Of all items.
        level: Items whose fastest calls tell how far below the usual time the undisturbed one is; all by default.
        left_out: Phases that are known to count for nothing.
    """
    logs = {key: _phases(one) for key, one in samples.items()}
    phases = sorted(set.intersection(*(set(one) for one in logs.values())) - set(left_out))
    if len(phases) < 2:
        return Summary({key: _stats(one, None) for key, one in samples.items()}, math.inf, len(phases))
    usual = {key: statistics.fmean(one[phase] for phase in phases) for key, one in logs.items()}
    state = {phase: statistics.median(logs[key][phase] - usual[key] for key in logs) for phase in phases}
    typical = _typical(list(state.values()))
    unlike = frozenset(phase for phase in phases if abs(state[phase] - typical) > math.log1p(MAX_MOVED))
    if unlike:
        found = summarise(samples, level, {*left_out, *unlike})
        return replace(found, unlike=found.unlike | unlike)
    below = statistics.median(_fastest(samples[key], phases) - usual[key] for key in level or logs)
    few = len(logs) < MIN_ITEMS
    stats = {}
    for key, one in samples.items():
        own = [logs[key][phase] - (0.0 if few else state[phase]) for phase in phases]
        stats[key] = _stats(one, (math.exp(usual[key] + below), own))
    return Summary(stats, math.exp(max(state.values()) - min(state.values())) - 1.0, len(phases))


def _typical(states: Sequence[float]) -> float:
    """Return the state that most are like: neither a lucky phase nor one between two moods of the machine.

    Of several, the fastest.
    """
    return max(sorted(states), key=lambda state: sum(abs(other - state) <= math.log1p(MAX_MOVED) for other in states))


def fast_half(values: Iterable[float]) -> float:
    """Return the mean of the smaller half: disturbances only add."""
    ordered = sorted(values)
    return statistics.fmean(ordered[: (len(ordered) + 1) // 2])


def _phases(samples: Samples) -> dict[int, float]:
    """Return, per phase with undisturbed calls, the logarithm of an item's milliseconds: of its visits' fastest calls,
    the faster half.
    """
    visits: dict[tuple[int, int], float] = {}
    for ms, clean, phase, visit in zip(samples.ms, samples.clean, samples.phases, samples.visits, strict=True):
        if clean:
            visits[phase, visit] = min(ms, visits.get((phase, visit), math.inf))
    fastest: dict[int, list[float]] = {}
    for (phase, _), ms in visits.items():
        fastest.setdefault(phase, []).append(math.log(ms))
    return {phase: fast_half(values) for phase, values in fastest.items()}


def _fastest(samples: Samples, phases: Collection[int]) -> float:
    """Return the logarithm of the fastest undisturbed call of the phases, of which there is one."""
    calls = zip(samples.ms, samples.clean, samples.phases, strict=True)
    return math.log(min(ms for ms, clean, phase in calls if clean and phase in phases))


def _stats(samples: Samples, found: tuple[float, Sequence[float]] | None) -> Stats:
    ordered = sorted(samples.ms)
    latency = error = repeat = math.inf
    if found is None:
        clean = [ms for ms, ok in zip(samples.ms, samples.clean, strict=True) if ok]
        latency = min(clean, default=ordered[0])
    else:
        latency, own = found
        error = latency * statistics.stdev(own) / math.sqrt(len(own))
        repeat = abs(math.expm1(statistics.fmean(own[::2]) - statistics.fmean(own[1::2])))
    return Stats(
        latency_ms=latency,
        error_ms=error,
        repeat=repeat,
        median_ms=ordered[len(ordered) // 2],
        p10_ms=ordered[len(ordered) // 10],
        num_samples=len(ordered),
        num_clean=sum(samples.clean),
    )
