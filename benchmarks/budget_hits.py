"""How well networks use their budgets and keep them: 6 budgets on 3 targets, 3 seeds, and no final training.

    python -m benchmarks.budget_hits --json

Per seed a supernet is warmed up for a short while and a pool of its paths judged; per target and budget alpha is
searched on it and a network derived, measured on the way as in a sweep; then its file is measured and goes through the
gate. Everything is kept in `--work`, and a killed run goes on. Two minutes: `--seeds 1 --targets ort-cpu-1t --fractions
0.1 0.3 0.8 --warmup-steps 60 --search-steps 20 --table-seconds 5`. Targets that count need no quiet machine.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch

from benchmarks.common import report, say, wanted
from benchmarks.seeded import (
    NUM_TRIES,
    Seeded,
    about,
    add_arguments,
    derive_settings,
    prepared,
    search_settings,
    table_of,
)
from latency.measuring.measure import Measurement, References, measure_network
from latency.measuring.process import MeasuringProcess
from latency.tables.estimate import cost_table
from latency.target import Target, load_target
from orchestrator.plan.requirements import GateConfig
from orchestrator.trial.corrections import Correction, corrected
from orchestrator.trial.gate import Figures, Verdict
from orchestrator.trial.gate import judge as through_gate
from orchestrator.trial.records import NetworkCost
from supernet.cost import CostTable
from supernet.derive import Derivation, pick
from supernet.errors import InputError
from supernet.files import write_whole
from supernet.loop import Search
from supernet.plain import read_json, to_json
from supernet.proposals import best_within
from supernet.rng import generator
from supernet.space import Path as Choices
from supernet.space import Space
from supernet.specialise import specialise

CLOSE, MAX_OVER = 0.01, 0.03
"""A budget is used if no more than this share of it is left; measured before the gate, networks are no more over it."""

NUM_CALIBRATION_IMAGES = 64
"""Of int8."""


@dataclass(frozen=True)
class Attempt:
    """A network that was derived: its cost by the target's table, and as its file was measured."""

    path: Choices
    predicted: float
    measured: float


@dataclass(frozen=True)
class Hit:
    """What came of one budget.

    Attributes:
        target: Name.
        seed: Of the supernet, the search and the derivation.
        budget: Limit, in the unit of the target.
        nearest: Cost of the dearest path that keeps it, by the table.
        attempts: Networks in turn: before the gate, and after each of its corrections.
        reason: Why the gate rejects the last one; empty if it does not.
    """

    target: str
    seed: int
    budget: float
    nearest: float
    attempts: tuple[Attempt, ...]
    reason: str


class Bench(Protocol):
    """A target: its table, a measurement for the derivation and one of the delivered file."""

    costs: CostTable
    table_error: float

    def measure(self, path: Choices) -> float:
        """Return what a path takes, as measured while networks are derived."""
        ...

    def deliver(self, path: Choices) -> NetworkCost:
        """Return what the file of a path takes."""
        ...


def try_budget(
    bench: Bench, derive: Callable[[CostTable, int], Choices], budget: float, gate: GateConfig
) -> tuple[tuple[Attempt, ...], str]:
    """Derive a network and send it through the gate, again with a corrected table as often as it may.

    Args:
        bench: The target.
        derive: From a table and the number of the attempt to a path within the budget by that table.
        budget: In the unit of the target.
        gate: Its tolerances.

    Returns:
        The attempts, and why the last one is rejected.
    """
    attempts, corrections, reason = list[Attempt](), list[Correction](), ""
    while len(corrections) <= gate.max_corrections:
        try:
            path = derive(corrected(bench.costs, corrections), len(corrections))
        except InputError as error:  # no path keeps the budget by the corrected table
            reason = reason or str(error)
            break
        predicted, cost = bench.costs.total(path), bench.deliver(path)
        if _verdict(bench, budget, predicted, cost, gate).too_slow:
            cost = min(cost, bench.deliver(path), key=lambda one: one.value)
        attempts.append(Attempt(path, predicted, cost.value))
        verdict = _verdict(bench, budget, predicted, cost, gate)
        reason = verdict.reason
        if not verdict.correctable:
            break
        corrections.append(Correction(str(path), predicted, cost.value))
    return tuple(attempts), reason


def _verdict(bench: Bench, budget: float, predicted: float, cost: NetworkCost, gate: GateConfig) -> Verdict:
    """Return what the gate says of costs alone: nothing is trained here, so accuracies are out of the question."""
    costs = {"unit": bench.costs.unit, "predicted": predicted, "budget": budget, "cost": cost}
    about = {"differences": {}, "counted": {}, "file": "", "wanted_top1": 0.0, "top1": 0.0, "num_images": 1}
    return through_gate(Figures(**costs, **about, table_error=bench.table_error), gate)


def dearest_within(costs: CostTable, budget: float) -> float:
    """Return the cost of the dearest path that keeps a budget, exactly."""
    return costs.total(best_within(costs.matrix, costs, budget))


def summary(hits: Sequence[Hit]) -> dict[str, Any]:
    """Return what is wanted of all budgets, and what came of it."""
    first = [hit.attempts[0] for hit in hits]
    passed = [hit for hit in hits if not hit.reason]
    reachable = [hit for hit in hits if hit.nearest >= (1 - CLOSE) * hit.budget]
    used = [hit.attempts[0].predicted / hit.budget for hit in reachable]
    before = [attempt.measured / hit.budget - 1 for attempt, hit in zip(first, hits, strict=True)]
    after = [hit.attempts[-1].measured / hit.budget - 1 for hit in passed]
    over = [attempt.predicted / hit.budget - 1 for hit in hits for attempt in hit.attempts]
    return {
        "num_budgets": len(hits),
        "predicted_over": wanted(max(over), 0.0, most=True),
        "num_reachable": len(reachable),
        "used_within_1_percent": wanted(_share([share >= 1 - CLOSE for share in used]), 1.0, most=False),
        "least_used": min(used, default=1.0),
        "measured_over_before_the_gate": wanted(max(before), MAX_OVER, most=True),
        "num_over_before_the_gate": sum(share > 0 for share in before),
        "num_corrected": sum(len(hit.attempts) > 1 for hit in hits),
        "num_rejected": len(hits) - len(passed),
        "measured_over_after_the_gate": wanted(max(after, default=0.0), 0.0, most=True),
    }


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 1.0


class Counted:
    """A target that counts: what its table says is what a network takes."""

    table_error = 0.0

    def __init__(self, target: Target, space: Space) -> None:
        self.costs = cost_table(space, target, "")

    def measure(self, path: Choices) -> float:
        """Return the count."""
        return self.costs.total(path)

    def deliver(self, path: Choices) -> NetworkCost:
        """Return the count."""
        return NetworkCost.counted(self.costs.total(path))


class Measured:
    """A target of this machine: its table is built where it is missing, its networks share a process."""

    def __init__(self, target: Target, process: MeasuringProcess, seeded: Seeded, asked: argparse.Namespace) -> None:
        self.target, self.process = target, process
        self.supernet, self.seconds = seeded.supernet, asked.network_seconds
        self.images = next(iter(seeded.data.once("train", NUM_CALIBRATION_IMAGES)))[0].numpy()
        table = table_of(self.supernet.space, target, asked)
        self.costs, self.table_error, self.near = table.cost_table(), table.calibration.rms, table.calibration.near

    def measure(self, path: Choices) -> float:
        """Measure what a path takes at most, as far as the error is known."""
        return self._measured(path).as_known.surely_within_ms

    def deliver(self, path: Choices) -> NetworkCost:
        """Measure what the file of a path takes."""
        return NetworkCost.measured(self._measured(path))

    def _measured(self, path: Choices) -> Measurement:
        """Measure a path's network with the weights it has in the supernet; again if the machine was disturbed.

        Beside networks of the table, as a sweep does.
        """
        space, architecture = self.supernet.space, self.supernet.space.architecture(path)
        weights = specialise(self.supernet, architecture, inherit=True, seed=0).state_dict()
        for _ in range(NUM_TRIES):
            found = measure_network(
                space,
                architecture,
                self.target,
                weights=weights,
                images=self.images,
                seconds=self.seconds,
                references=References(space, self.near(self.costs.total(path))),
                run=self.process.run,
            )
            if not (found.noise or found.slowed):
                break
        return found


def run_seed(asked: argparse.Namespace, seed: int) -> Iterator[Hit]:
    """Yield what comes of all targets and budgets under one seed; each is kept as soon as it is known."""
    seeded = prepared(asked, seed)
    for target in map(load_target, asked.targets):
        with ExitStack() as stack:
            bench: Bench | None = None
            for fraction in asked.fractions:
                file = seeded.folder / f"{target.name}-{fraction:g}.json"
                if not file.exists():
                    bench = bench or _bench(target, seeded, asked, stack)
                    write_whole(file, to_json(_hit(bench, seeded, asked, fraction)).encode())
                known: Hit = read_json(Hit, file.read_bytes(), str(file))
                say(_line(known))
                yield known


def _bench(target: Target, seeded: Seeded, asked: argparse.Namespace, stack: ExitStack) -> Bench:
    if not target.measured:
        return Counted(target, seeded.supernet.space)
    return Measured(target, stack.enter_context(MeasuringProcess(target)), seeded, asked)


def _hit(bench: Bench, seeded: Seeded, asked: argparse.Namespace, fraction: float) -> Hit:
    costs, name = bench.costs, bench.costs.name
    budget = costs.minimum + fraction * (costs.maximum - costs.minimum)
    settings = search_settings(asked.search_steps, budget, train_weights=False)
    search = Search(seeded.supernet, costs, settings, seeded.data, seed=seeded.seed)
    while not search.done:
        search.step()

    @cache
    def measure(path: Choices) -> float:
        figure = bench.measure(path)
        return figure if figure <= budget else min(figure, bench.measure(path))

    def derive(table: CostTable, number: int) -> Choices:
        question = Derivation(
            search.alpha.probs(),
            table,
            budget,
            seeded.judge,
            lambda attempt: generator(seeded.seed, "derive", name, budget, number, attempt),
            pool=seeded.pool.judged,
            measure=measure,
            settings=derive_settings(asked),
        )
        return pick(question).path

    attempts, reason = try_budget(bench, derive, budget, GateConfig())
    return Hit(name, seeded.seed, budget, dearest_within(costs, budget), attempts, reason)


def _line(hit: Hit) -> str:
    shares = ", ".join(f"{a.predicted / hit.budget:.3f} ({a.measured / hit.budget:.3f})" for a in hit.attempts)
    said = f"; rejected: {hit.reason}" if hit.reason else ""
    return f"seed {hit.seed}, {hit.target}, {hit.budget:.4g}: predicted (measured) shares of the budget {shares}{said}"


def main() -> None:
    """Run what is left and print what it came to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budget_hits", description=__doc__)
    add_arguments(parser, work="budget-hits-runs")
    parser.add_argument("--targets", nargs="+", default=["ort-cpu-1t", "openvino-cpu-1t", "ort-cpu-int8-1t"])
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.08, 0.16, 0.28, 0.42, 0.58, 0.8])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--network-seconds", type=float, default=1.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    hits = [hit for seed in range(asked.seeds) for hit in run_seed(asked, seed)]
    by_target = {target: summary([hit for hit in hits if hit.target == target]) for target in asked.targets}
    spent = {"cpu_seconds": time.process_time() - start}
    report({**about(asked), **summary(hits), "by_target": by_target, **spent}, as_json=asked.json)


if __name__ == "__main__":
    main()
