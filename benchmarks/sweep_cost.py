"""What a further trial costs in `shared` mode, and what it loses: fronts of K trials against independent searches.

    python -m benchmarks.sweep_cost --json

Per target and budget a network is found twice: by searching alpha on the frozen weights of one supernet, as in `shared`
mode, and by a search that trains weights of its own on from the same warm-up, as in `independent` mode. All networks
are then trained alone by one recipe. Costs are the tables' predictions, CPU time is that of this process. Everything is
kept in `--work`, and a killed run goes on. Two minutes: `--targets macs params --trials 2 --warmup-steps 60
--own-steps 30 --search-steps 10 --train-steps 30`.
"""

import argparse
import copy
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from benchmarks.common import report, say, wanted
from benchmarks.macro.supernets import seconds_of
from benchmarks.seeded import (
    SUPERNET_FILE,
    Seeded,
    about,
    add_arguments,
    derive_settings,
    judge_of,
    judged_pool,
    prepared,
    search_settings,
    table_of,
)
from latency.tables.estimate import cost_table
from latency.target import Target, load_target
from supernet.cost import CostTable
from supernet.derive import Derivation, pick
from supernet.files import write_whole
from supernet.loop import Search
from supernet.plain import read_json, to_json
from supernet.rng import generator
from supernet.space import Path as Choices
from supernet.specialise import Training, TrainSettings, specialise

MAX_FURTHER, MIN_HYPERVOLUME = 0.05, 0.98
LOWEST, HIGHEST = 0.06, 0.8
"""Budgets lie evenly between these fractions of a table's range, by ratios."""

Mode = Literal["shared", "independent"]
MODES: tuple[Mode, ...] = ("shared", "independent")


@dataclass(frozen=True)
class Trial:
    """What one search came to.

    Attributes:
        target: Name.
        mode: How it was searched.
        fraction: Of the table's range: its budget.
        path: What was found.
        cost: Its cost by the table.
        search_seconds: CPU time of search and derivation; of an independent one its pool too, the warm-up aside.
        top1: On the test split, trained alone, 0..1.
    """

    target: str
    mode: Mode
    fraction: float
    path: Choices
    cost: float
    search_seconds: float
    top1: float


@dataclass(frozen=True)
class Range:
    """Costs of the cheapest and the dearest network of a target."""

    low: float
    high: float


def fractions(number: int, most: int) -> list[float]:
    """Return the budgets of a sweep of so many trials: some of those of the largest sweep, both ends among them."""
    every = [LOWEST * (HIGHEST / LOWEST) ** (i / (most - 1)) for i in range(most)]
    return [every[round(i * (most - 1) / (number - 1))] for i in range(number)]


def hypervolume(points: Sequence[tuple[float, float]], within: Range) -> float:
    """Return the area under a front: mean of the best top-1 within a cost, over the logarithm of the cost.

    Args:
        points: (cost, top-1) of each network.
        within: Costs that the mean is over; below the cheapest network it is 0.
    """
    best, area, before = 0.0, 0.0, math.log(within.low)
    for cost, top1 in sorted(points):
        here = min(max(math.log(cost), before), math.log(within.high))
        area += best * (here - before)
        best, before = max(best, top1), here
    return (area + best * (math.log(within.high) - before)) / (math.log(within.high) - math.log(within.low))


def summary(
    trials: Sequence[Trial], warmup_seconds: float, pool_seconds: float, ranges: dict[str, Range], sizes: Sequence[int]
) -> dict[str, Any]:
    """Return what a further trial takes as a share of one independent search, and the fronts of so many trials."""
    spent = {mode: statistics.fmean(t.search_seconds for t in trials if t.mode == mode) for mode in MODES}
    search = warmup_seconds + spent["independent"]
    found: dict[str, Any] = {
        "independent_search_cpu_seconds": search,
        "further_trial": wanted(spent["shared"] / search, MAX_FURTHER, most=True),
        "warmup": warmup_seconds / search,
        "pool": pool_seconds / search,
    }
    for number in sizes:
        asked = set(fractions(number, max(sizes)))
        one = {"searches": (warmup_seconds + pool_seconds + number * spent["shared"]) / search}
        for target, within in ranges.items():
            areas = {
                mode: hypervolume(
                    [(t.cost, t.top1) for t in trials if (t.target, t.mode) == (target, mode) and t.fraction in asked],
                    within,
                )
                for mode in MODES
            }
            share = wanted(areas["shared"] / areas["independent"], MIN_HYPERVOLUME, most=False)
            one[target] = {**areas, "shared_by_independent": share}
        found[f"{number}_trials_per_target"] = one
    return found


def run_trial(asked: argparse.Namespace, seeded: Seeded, costs: CostTable, mode: Mode, fraction: float) -> Trial:
    """Return what a search and the final training come to, going on from what is kept."""
    file = seeded.folder / f"{costs.name}-{mode}-{fraction:.4g}.json"
    if not file.exists():
        write_whole(file, to_json(_trial(asked, seeded, costs, mode, fraction)).encode())
    trial: Trial = read_json(Trial, file.read_bytes(), str(file))
    say(f"{trial.target}, {mode}, {fraction:.3f}: {trial.search_seconds:.1f} CPU s, {trial.top1:.1%}")
    return trial


def _trial(asked: argparse.Namespace, seeded: Seeded, costs: CostTable, mode: Mode, fraction: float) -> Trial:
    start, shared = time.process_time(), mode == "shared"
    supernet = seeded.supernet if shared else copy.deepcopy(seeded.supernet)
    budget = costs.minimum + fraction * (costs.maximum - costs.minimum)
    num_steps = asked.search_steps if shared else asked.own_steps
    settings = search_settings(num_steps, budget, train_weights=not shared)
    search = Search(supernet, costs, settings, seeded.data, seed=seeded.seed)
    while not search.done:
        search.step()
    judge = seeded.judge if shared else judge_of(supernet, seeded.data, asked)
    pool = seeded.pool if shared else judged_pool(judge, supernet.space, asked, seeded.seed)
    question = Derivation(
        search.alpha.probs(),
        costs,
        budget,
        judge,
        lambda attempt: generator(seeded.seed, "derive", costs.name, budget, attempt),
        pool=pool.judged,
        settings=derive_settings(asked),
    )
    path = pick(question).path
    seconds = time.process_time() - start
    network = specialise(supernet, supernet.space.architecture(path), inherit=True, seed=seeded.seed)
    train = TrainSettings(num_steps=asked.train_steps, batch_size=64, learning_rate=0.05, recalibration_batches=8)
    training = Training(network, train, seeded.data, seed=seeded.seed)
    while not training.done:
        training.step()
    training.finish()
    top1 = training.evaluate("test").top1
    return Trial(costs.name, mode, fraction, path, costs.total(path), seconds, top1)


def _costs(target: Target, seeded: Seeded, asked: argparse.Namespace) -> CostTable:
    space = seeded.supernet.space
    return table_of(space, target, asked).cost_table() if target.measured else cost_table(space, target, "")


def main() -> None:
    """Run what is left and print what it came to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep_cost", description=__doc__)
    add_arguments(parser, work="sweep-cost-runs")
    parser.add_argument("--targets", nargs="+", default=["ort-cpu-1t", "openvino-cpu-1t"])
    parser.add_argument("--trials", nargs="+", type=int, default=[2, 4, 8, 12], help="trials per target, at least 2")
    parser.add_argument("--own-steps", type=int, default=800, help="weight steps of an independent search")
    parser.add_argument("--train-steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    seeded = prepared(asked, asked.seed)
    tables = [_costs(target, seeded, asked) for target in map(load_target, asked.targets)]
    trials = [
        run_trial(asked, seeded, costs, mode, fraction)
        for costs in tables
        for mode in MODES
        for fraction in fractions(max(asked.trials), max(asked.trials))
    ]
    ranges = {costs.name: Range(costs.minimum, costs.maximum) for costs in tables}
    warmup = seconds_of(seeded.folder / SUPERNET_FILE)
    told = summary(trials, warmup, seeded.pool.cpu_seconds, ranges, sorted(asked.trials))
    report({**about(asked), **told}, as_json=asked.json)


if __name__ == "__main__":
    main()
