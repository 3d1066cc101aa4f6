"""How well networks use their budgets and keep them: 6 budgets on 3 targets, 3 seeds, and no final training.

    python -m benchmarks.budget_hits --json

Per seed a supernet is warmed up for a short while and a pool of its paths judged; per target and budget alpha is
searched on it and a network derived, measured on the way as in a sweep. Then its file is exported and measured, goes
through the gate, and is measured once more if it passes.

Everything is kept in `--work`, and a killed run goes on. CPU seconds are those of all runs; measuring, in processes of
its own, is not in them. Two minutes: `--work budget-hits-runs/short --seeds 1 --targets ort-cpu-1t --fractions 0.1 0.3
0.8 --warmup-steps 60 --search-steps 20 --table-seconds 5`. Targets that count need no quiet machine.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.benches import Bench, Counted, Measured
from benchmarks.common import in_a_sentence, report, say, wanted
from benchmarks.seeded import (
    Seeded,
    about,
    add_arguments,
    derive_settings,
    prepared,
    require_budget,
    search_settings,
)
from latency.measuring.process import MeasuringProcess
from latency.target import Target, load_target
from orchestrator.plan.requirements import GateConfig
from orchestrator.trial.corrections import raised
from orchestrator.trial.costs import NetworkCost
from orchestrator.trial.gate import Figures, Verdict
from orchestrator.trial.gate import judge as through_gate
from supernet.cost import CostTable
from supernet.derive import Derivation, pick
from supernet.errors import InputError
from supernet.files import write_whole
from supernet.loop import Search
from supernet.plain import read_json, to_json
from supernet.rng import generator
from supernet.space import Path as Choices

CLOSE, MAX_OVER = 0.01, 0.03
"""A budget is used if no more than this share of it is left; measured before the gate, networks are no more over it."""


@dataclass(frozen=True)
class Attempt:
    """A network that was derived.

    Attributes:
        path: The network.
        predicted: Its cost by the target's table.
        costs: What its file took: once, and once more where the gate finds it too slow.
    """

    path: Choices
    predicted: float
    costs: tuple[NetworkCost, ...]

    @property
    def cost(self) -> NetworkCost:
        """What the gate goes by: the fastest, as in a sweep."""
        return min(self.costs, key=lambda cost: cost.value)


@dataclass(frozen=True)
class Hit:
    """What came of one budget.

    Attributes:
        target: Name.
        seed: Of the supernet, the search and the derivation.
        budget: Limit, in the unit of the target.
        nearest: Cost of the dearest path that keeps it, by the table, see `dearest_within`.
        attempts: Networks in turn: before the gate, and after each of its corrections.
        reason: Why the gate rejects the last one; empty if it does not.
        after: What the file of the last one took when it had passed; None if it has not.
        cpu_seconds: Of this process: search, derivation and export.
    """

    target: str
    seed: int
    budget: float
    nearest: float
    attempts: tuple[Attempt, ...]
    reason: str
    after: NetworkCost | None
    cpu_seconds: float

    @property
    def figures(self) -> list[NetworkCost]:
        """All that was measured of files."""
        last = [self.after] if self.after else []
        return [*(cost for attempt in self.attempts for cost in attempt.costs), *last]


def try_budget(
    bench: Bench, derive: Callable[[CostTable, int], Choices], budget: float, gate: GateConfig
) -> tuple[tuple[Attempt, ...], str, NetworkCost | None]:
    """Derive a network and send it through the gate, again with a corrected table as often as it may.

    Args:
        bench: The target.
        derive: From a table and the number of the attempt to a path within the budget by that table.
        budget: In the unit of the target.
        gate: Its tolerances.

    Returns:
        The attempts, why the last one is rejected, and what it took once more if it is not: chance has picked what
        passes, and has no part in this.
    """
    attempts, excesses, reason = list[Attempt](), list[float](), ""
    while len(excesses) <= gate.max_corrections:
        try:
            path = derive(raised(bench.costs, excesses), len(excesses))
        except InputError as error:  # no path keeps the budget by the corrected table
            reason = reason or str(error)
            break
        attempt = Attempt(path, bench.costs.total(path), (bench.deliver(path),))
        if _verdict(bench, budget, attempt, gate).too_slow:
            attempt = replace(attempt, costs=(*attempt.costs, bench.deliver(path)))
        attempts.append(attempt)
        verdict = _verdict(bench, budget, attempt, gate)
        reason = verdict.reason
        if not verdict.correctable:
            break
        excesses.append(attempt.cost.value / attempt.predicted)
    return tuple(attempts), reason, None if reason else bench.deliver(attempts[-1].path)


def _verdict(bench: Bench, budget: float, attempt: Attempt, gate: GateConfig) -> Verdict:
    """Return what the gate says of costs alone: nothing is trained here, so accuracies are out of the question."""
    figures = Figures(
        unit=bench.costs.unit,
        predicted=attempt.predicted,
        table_error=bench.table_error,
        budget=budget,
        cost=attempt.cost,
        differences={},
        file="",
        wanted_top1=0.0,
        top1=0.0,
        num_images=1,
        counted={},
    )
    return through_gate(figures, gate)


def measured_once(bench: Bench, budget: float) -> Callable[[Choices], float]:
    """Return what measures paths for a derivation, each once, as a sweep does.

    Where nothing beside a network tells a disturbance, one that is over the budget is measured again: the lower counts.
    """

    @cache
    def measure(path: Choices) -> float:
        figure = bench.measure(path)
        return min(figure, bench.measure(path)) if bench.external and figure > budget else figure

    return measure


def dearest_within(costs: CostTable, budget: float) -> float:
    """Return the cost of a path that keeps a budget and costs less than the dearest such path by a hair at most.

    All sums of costs may be distinct, so of partial paths that cost nearly the same the cheapest is carried on: it can
    be completed wherever the others can. All positions together lose a tenth of what `CLOSE` tells apart.
    """
    cell = 0.1 * CLOSE * budget / max(1, len(costs.candidates))
    sums, rest = np.array([costs.fixed]), costs.minimum - costs.fixed
    for row in costs.candidates:
        rest -= min(row)
        sums = np.sort((sums[:, None] + row).ravel())
        sums = sums[sums + rest <= budget + cell]
        sums = sums[np.unique(sums // cell, return_index=True)[1]]
    return float(sums[sums <= budget].max())


def summary(hits: Sequence[Hit]) -> dict[str, Any]:
    """Return what is wanted of all budgets, and what came of it."""
    first = [hit.attempts[0] for hit in hits]
    passed = [(hit, hit.after) for hit in hits if hit.after]
    reachable = [hit for hit in hits if hit.nearest >= (1 - CLOSE) * hit.budget]
    used = [hit.attempts[0].predicted / hit.budget for hit in reachable]
    before = [attempt.costs[0].value / hit.budget - 1 for attempt, hit in zip(first, hits, strict=True)]
    after = [cost.value / hit.budget - 1 for hit, cost in passed]
    figures = [figure for hit in hits for figure in hit.figures]
    over = [attempt.predicted / hit.budget - 1 for hit in hits for attempt in hit.attempts]
    return {
        "num_budgets": len(hits),
        "predicted_over": wanted(max(over), 0.0, most=True),
        "num_reachable": len(reachable),
        "used_within_1_percent": wanted(_share([share >= 1 - CLOSE for share in used]), 1.0, most=False),
        "median_used": statistics.median(used or [1.0]),
        "least_used": min(used, default=1.0),
        "measured_over_before_the_gate": wanted(max(before), MAX_OVER, most=True),
        "num_over_before_the_gate": sum(share > 0 for share in before),
        "num_corrected": sum(len(hit.attempts) > 1 for hit in hits),
        "num_rejected": len(hits) - len(passed),
        "measured_over_after_the_gate": wanted(max(after, default=0.0), 0.0, most=True),
        "num_over_after_the_gate": sum(share > 0 for share in after),
        "num_figures": len(figures),
        "num_noisy_figures": sum(bool(figure.noise) for figure in figures),
    }


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 1.0


def run_seed(asked: argparse.Namespace, seeded: Seeded) -> Iterator[Hit]:
    """Yield what comes of all targets and budgets under one seed; each is kept as soon as it is known.

    Raises:
        InputError: If one was kept under another table.
        RunError: If the machine has slowed down; nothing is kept of the budget that it was at.
    """
    for target in map(load_target, asked.targets):
        with ExitStack() as stack:
            bench = _bench(target, seeded, asked, stack)
            for fraction in asked.fractions:
                budget = bench.costs.minimum + fraction * (bench.costs.maximum - bench.costs.minimum)
                file = seeded.folder / f"{target.name}-{fraction:g}.json"
                if not file.exists():
                    write_whole(file, to_json(_hit(bench, seeded, asked, budget)).encode())
                known: Hit = read_json(Hit, file.read_bytes(), str(file))
                require_budget(file, known.budget, budget)
                say(_line(known))
                yield known


def _bench(target: Target, seeded: Seeded, asked: argparse.Namespace, stack: ExitStack) -> Bench:
    if not target.measured:
        return Counted(target, seeded.supernet.space)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="onepath-hits-"))
    return Measured(target, stack.enter_context(MeasuringProcess(target)), Path(folder), seeded, asked)


def _hit(bench: Bench, seeded: Seeded, asked: argparse.Namespace, budget: float) -> Hit:
    costs, name = bench.costs, bench.costs.name
    nearest, start = dearest_within(costs, budget), time.process_time()
    settings = search_settings(asked.search_steps, budget, train_weights=False)
    search = Search(seeded.supernet, costs, settings, seeded.data, seed=seeded.seed)
    while not search.done:
        search.step()
    measure = measured_once(bench, budget)

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

    attempts, reason, after = try_budget(bench, derive, budget, GateConfig())
    return Hit(name, seeded.seed, budget, nearest, attempts, reason, after, time.process_time() - start)


def _line(hit: Hit) -> str:
    shares = ", ".join(f"{a.predicted / hit.budget:.3f} ({a.cost.value / hit.budget:.3f})" for a in hit.attempts)
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
    hits, spent = list[Hit](), 0.0
    for seed in range(asked.seeds):
        seeded = prepared(asked, seed)
        hits += run_seed(asked, seeded)
        spent += seeded.warmup_seconds + seeded.pool.cpu_seconds
    targets = dict.fromkeys(hit.target for hit in hits)
    by_target = {name: summary([hit for hit in hits if hit.target == name]) for name in targets}
    spent += sum(hit.cpu_seconds for hit in hits)
    told = {**summary(hits), "by_target": by_target, "cpu_seconds": spent}
    report({**about(asked), **told}, as_json=asked.json)


if __name__ == "__main__":
    sys.exit(in_a_sentence(main))
