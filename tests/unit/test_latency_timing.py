"""The measurement protocol on a simulated machine: known truth, preemption, slow modes, interruption."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from latency.runtimes.base import Host, host_program
from latency.sentinels import judge_sentinel
from latency.timing import Plan, Samples, TimeCalls, confirmed, sample, summarise


@dataclass
class Machine:
    """A processor whose time passes only when something runs on it.

    Attributes:
        slowdown: Factor on running time at a given wall time in seconds.
        preempted: Chance that a call is interrupted for 4 ms.
    """

    slowdown: Callable[[float], float] = lambda seconds: 1.0
    preempted: float = 0.0
    wall: int = 0
    cpu: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def wall_ns(self) -> int:
        return self.wall

    def cpu_ns(self) -> int:
        return self.cpu

    def run(self, ms: float) -> None:
        spent = round(ms * 1e6 * self.slowdown(self.wall / 1e9) * (1 + abs(self.rng.gauss(0, 0.004))))
        self.wall += spent
        self.cpu += spent
        if self.rng.random() < self.preempted:
            self.wall += 4_000_000

    def program(self, ms: float):
        return host_program(lambda: self.run(ms), lambda: np.zeros(1, np.float32), Host(self)).time


TRUTH = {"short": 0.02, "middle": 0.7, "long": 9.0}
QUICK = Plan(seconds=2.0, max_seconds=6.0)


def phases_of(programs: Mapping[str, TimeCalls], opened: list[list[str]] | None = None):
    """Open phases over programs that are the same in each."""

    @contextmanager
    def open_phase(keys: Sequence[str]) -> Iterator[dict[str, TimeCalls]]:
        if opened is not None:
            opened.append(list(keys))
        yield {key: programs[key] for key in keys}

    return open_phase


def measure(machine: Machine, plan: Plan = QUICK, **options) -> dict[str, Samples]:
    programs = {key: machine.program(ms) for key, ms in TRUTH.items()}
    return sample(list(TRUTH), phases_of(programs), plan, machine, random.Random(0), **options)


def test_quiet_machine_gives_the_truth() -> None:
    for key, samples in measure(Machine()).items():
        stats = summarise(samples, QUICK)
        assert stats.floor_ms == pytest.approx(TRUTH[key], rel=0.005)
        assert stats.relative_error < 0.005
        assert stats.num_clean == stats.num_samples


def test_preempted_calls_are_not_clean_and_do_not_count() -> None:
    for key, samples in measure(Machine(preempted=0.4)).items():
        stats = summarise(samples, QUICK)
        assert stats.floor_ms == pytest.approx(TRUTH[key], rel=0.005)
        assert 0.4 < stats.num_clean / stats.num_samples < 0.8


def test_median_moves_with_the_machine_and_the_floor_does_not() -> None:
    """Slow-downs come in modes: most of the time 1.3 times slower."""
    slow = Machine(slowdown=lambda seconds: 1.0 if seconds % 0.5 < 0.15 else 1.3)
    for key, samples in measure(slow).items():
        stats = summarise(samples, QUICK)
        assert stats.floor_ms == pytest.approx(TRUTH[key], rel=0.01)
        assert stats.median_ms > 1.2 * TRUTH[key]


def test_always_preempted_is_uncertain_whatever_the_time() -> None:
    machine = Machine(preempted=1.0)
    for samples in measure(machine).values():
        stats = summarise(samples, QUICK)
        assert stats.num_clean == 0
        assert math.isinf(stats.error_ms)
    assert machine.wall / 1e9 > 6.0  # it tried for max_seconds


def test_the_fewest_rounds_are_measured_whatever_time_they_take() -> None:
    found = measure(Machine(), plan=Plan(seconds=0.0, max_seconds=0.0, min_rounds=5, visit_ms=0.0))
    assert {key: len(samples.ms) for key, samples in found.items()} == dict.fromkeys(TRUTH, 2 * 5 * Plan().min_calls)
    assert {tuple(sorted(set(samples.phases))) for samples in found.values()} == {(0, 1)}


def test_a_process_that_lies_badly_in_memory_is_outvoted() -> None:
    """Every call of the first phase is 8 % slower: its own calls agree, the other phases do not."""
    machine, opened = Machine(), []

    @contextmanager
    def open_phase(keys: Sequence[str]) -> Iterator[dict[str, TimeCalls]]:
        opened.append(list(keys))
        slow = 1.08 if len(opened) == 1 else 1.0
        yield {key: machine.program(TRUTH[key] * (slow if key == "middle" else 1.0)) for key in keys}

    found = sample(list(TRUTH), open_phase, QUICK, machine, random.Random(0))
    assert opened == [list(TRUTH), list(TRUTH), ["middle"]]
    stats = summarise(found["middle"], QUICK)
    assert stats.floor_ms == pytest.approx(TRUTH["middle"], rel=0.005)
    assert stats.relative_error < 0.01


def test_two_phases_that_never_agree_stay_uncertain() -> None:
    machine = Machine()
    slow = iter(1.04**n for n in range(100))

    @contextmanager
    def open_phase(keys: Sequence[str]) -> Iterator[dict[str, TimeCalls]]:
        factor = next(slow)
        yield {key: machine.program(1.0 * factor) for key in keys}

    found = sample(["one"], open_phase, Plan(seconds=0.2, max_seconds=2.0), machine, random.Random(0))
    assert summarise(found["one"], QUICK).relative_error == pytest.approx(0.04, abs=0.005)


@pytest.mark.parametrize(
    ("floors", "wanted"),
    [
        ([], (math.inf, math.inf)),
        ([1.0], (1.0, math.inf)),
        ([1.0, 1.004], (1.0, 0.004)),
        ([1.0, 1.07, 1.075], (1.0, 0.07)),  # too few to pass over one
        ([0.93, 1.0, 1.004, 1.03], (1.0, 0.004)),
        ([0.9, 0.95, 1.0, 1.004, 1.03], (0.95, 0.05)),
        ([0.9, 0.95, 1.0, 1.004, 1.03, 1.1, 1.1, 1.1], (1.0, 0.004)),
        ([1.0, 1.015, 1.016, 1.5], (1.0, 0.015)),  # the lowest of those that are
        ([1.0, 1.04, 1.07, 1.5], (1.04, 0.03)),  # nothing agrees: the nearest
    ],
)
def test_a_lucky_process_is_passed_over(floors: list[float], wanted: tuple[float, float]) -> None:
    assert confirmed(floors, 0.02) == pytest.approx(wanted)


def test_rounds_are_interleaved_and_shuffled() -> None:
    machine, order, ends = Machine(), [], []

    def watched(key: str) -> TimeCalls:
        run = machine.program(TRUTH[key])

        def time(num_calls: int):
            order.append(key)
            return run(num_calls)

        return time

    sample(
        list(TRUTH),
        phases_of({key: watched(key) for key in TRUTH}),
        Plan(seconds=0.0, max_seconds=0.0, min_rounds=12, warm_calls=0),
        machine,
        random.Random(0),
        weights={"long": 2},
        before_round=lambda: ends.append(len(order)),
    )
    rounds = [tuple(order[a : a + 4]) for a in ends]
    assert len(rounds) == 24
    assert all(sorted(one) == ["long", "long", "middle", "short"] for one in rounds)
    assert len(set(rounds)) > 3


def test_reference_kernels_are_in_every_phase() -> None:
    machine, opened = Machine(), []
    programs = {"item": machine.program(1.0), "kernel": machine.program(0.1)}
    sample(["item"], phases_of(programs, opened), QUICK, machine, random.Random(0), always=["kernel"])
    assert all(keys[-1] == "kernel" for keys in opened)


def test_an_interrupted_run_goes_on_with_its_samples() -> None:
    first = measure(Machine())
    before = {key: len(samples.ms) for key, samples in first.items()}
    again = measure(Machine(), known=first)
    for key in TRUTH:
        assert again[key].phases[0] == 0
        assert again[key].phases[-1] == 2  # one phase of its own, which agreed
        assert len(again[key].ms) > before[key]


def test_visits_last_about_as_long_as_asked() -> None:
    found = measure(Machine(), plan=Plan(seconds=0.0, max_seconds=0.0, min_rounds=1, visit_ms=3.0, min_calls=2))
    per_visit = {key: samples.phases.count(0) for key, samples in found.items()}
    assert per_visit["long"] == 2
    assert per_visit["middle"] * TRUTH["middle"] == pytest.approx(3.0, rel=0.4)
    assert per_visit["short"] * TRUTH["short"] == pytest.approx(3.0, rel=0.4)


def test_state_of_the_caches_is_restored_outside_the_time() -> None:
    machine = Machine()
    host = Host(machine, before_call=lambda: machine.run(50.0))
    calls = host_program(lambda: machine.run(1.0), lambda: np.zeros(1, np.float32), host).time(5)
    assert all(call.ms == pytest.approx(1.0, rel=0.02) and call.clean for call in calls)
    assert machine.wall > 250e6


def test_sentinel_tells_a_machine_that_became_slower() -> None:
    plan = Plan(seconds=3.0, max_seconds=3.0)
    steady = judge_sentinel(measure(Machine(), plan)["middle"])
    slower = judge_sentinel(measure(Machine(slowdown=lambda seconds: 1.0 if seconds < 1 else 1.2), plan)["middle"])
    assert steady.drift < 0.01
    assert slower.drift == pytest.approx(0.2, abs=0.02)
    assert slower.floor_ms == pytest.approx(0.7, rel=0.01)
