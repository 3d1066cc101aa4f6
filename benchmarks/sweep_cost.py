"""What a further trial costs in `shared` mode, and what it loses: fronts of K trials against independent searches.

    python -m benchmarks.sweep_cost --json

Per target and budget a network is found twice: by searching alpha on the frozen weights of one supernet, as in `shared`
mode, and by a search that trains weights of its own on from the same warm-up, as in `independent` mode. All networks
are then trained alone by one recipe. Costs are the tables' predictions, CPU time is that of this process.

A further trial is told as a share of one independent search: warm-up, a pool of its own, derivation and, what decides
it, `--own-steps` steps with weights. The longer these, the smaller the share. Final training is as long on both sides:
it stands in a second share, which `--train-steps` decides as well.

Everything is kept in `--work`, and a killed run goes on. Two minutes: `--work sweep-cost-runs/short --targets macs
params --trials 2 --warmup-steps 60 --own-steps 30 --search-steps 10 --train-steps 30`.
"""

import argparse
import copy
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from benchmarks.common import in_a_sentence, report, say, wanted
from benchmarks.seeded import (
    Seeded,
    about,
    add_arguments,
    derive_settings,
    judge_of,
    judged_pool,
    prepared,
    require_budget,
    search_settings,
    table_of,
)
from latency.tables.estimate import cost_table
from latency.target import Target, load_target
from supernet.cost import CostTable
from supernet.derive import Derivation, pick
from supernet.errors import InputError
from supernet.files import write_whole
from supernet.loop import Search
from supernet.plain import read_json, to_json
from supernet.rng import generator
from supernet.space import Path as Choices
from supernet.space import Space
from supernet.specialise import Training, TrainSettings, specialise

MAX_FURTHER, MIN_HYPERVOLUME = 0.05, 0.98
LOWEST, HIGHEST = 0.06, 0.8
"""Budgets lie evenly between these fractions of a table's range, by ratios."""

Mode = Literal["shared", "independent"]
MODES: tuple[Mode, ...] = ("shared", "independent")
ROW = ("seed", "target", "mode", "fraction", "cost", "top1", "search_seconds", "train_seconds")
"""What the report says of each trial."""


@dataclass(frozen=True)
class Trial:
    """What one search came to.

    Attributes:
        seed: Of supernet, search and training.
        target: Name.
        mode: How it was searched.
        fraction: Of the table's range: its budget.
        budget: The same in the unit of the target.
        path: What was found.
        cost: Its cost by the table.
        search_seconds: CPU time of search and derivation; of an independent one its pool too, the warm-up aside.
        train_seconds: CPU time of the final training.
        top1: On the test split, trained alone, 0..1.
    """

    seed: int
    target: str
    mode: Mode
    fraction: float
    budget: float
    path: Choices
    cost: float
    search_seconds: float
    train_seconds: float
    top1: float


@dataclass(frozen=True)
class Range:
    """The lowest and the highest budget that are asked of a target."""

    low: float
    high: float


def fractions(number: int, most: int) -> list[float]:
    """Return the budgets of a sweep of so many trials: some of those of the largest sweep, both ends among them.

    Raises:
        InputError: If these are less than two.
    """
    if number < 2:
        raise InputError(f"--trials {number}: a front has two ends, so at least 2 trials per target")
    every = [LOWEST * (HIGHEST / LOWEST) ** (i / (most - 1)) for i in range(most)]
    return [every[round(i * (most - 1) / (number - 1))] for i in range(number)]


def budget_of(costs: CostTable, fraction: float) -> float:
    """Return the cost at a fraction of a table's range."""
    return costs.minimum + fraction * (costs.maximum - costs.minimum)


def hypervolume(points: Sequence[tuple[float, float]], within: Range) -> float:
    """Return the area under a front: mean of the best top-1 within a budget, over the logarithm of the budget.

    Args:
        points: (cost, top-1) of each network.
        within: Budgets that the mean is over. A network cheaper than the lowest earns nothing by it.
    """
    best, area, before = 0.0, 0.0, math.log(within.low)
    for cost, top1 in sorted(points):
        here = min(max(math.log(cost), before), math.log(within.high))
        area += best * (here - before)
        best, before = max(best, top1), here
    return (area + best * (math.log(within.high) - before)) / (math.log(within.high) - math.log(within.low))


def difference(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return by how much shared trials are better in top-1 at equal budgets, with the standard error of the mean.

    Pairs of one seed share a supernet: the error is that between budgets, and several seeds tell more.
    """
    top1 = {(t.mode, t.seed, t.target, t.fraction): t.top1 for t in trials}
    found = [
        top1["shared", seed, target, fraction] - other
        for (mode, seed, target, fraction), other in top1.items()
        if mode == "independent"
    ]
    error = statistics.stdev(found) / math.sqrt(len(found))
    return {"mean": statistics.fmean(found), "standard_error": error, "num_pairs": len(found)}


def summary(
    trials: Sequence[Trial], warmup_seconds: float, pool_seconds: float, ranges: dict[str, Range], sizes: Sequence[int]
) -> dict[str, Any]:
    """Return what a further trial takes as a share of one independent search, and the fronts of so many trials.

    Args:
        trials: All of them; costs, areas and shares are means over the seeds.
        warmup_seconds: CPU time of a warm-up.
        pool_seconds: CPU time of a pool.
        ranges: By target.
        sizes: Trials per target.
    """
    of = {mode: [t for t in trials if t.mode == mode] for mode in MODES}
    spent = {mode: statistics.fmean(t.search_seconds for t in of[mode]) for mode in MODES}
    trained = {mode: statistics.fmean(t.train_seconds for t in of[mode]) for mode in MODES}
    search = warmup_seconds + spent["independent"]
    found: dict[str, Any] = {
        "independent_search_cpu_seconds": search,
        "final_training_cpu_seconds": trained["independent"],
        "further_trial": wanted(spent["shared"] / search, MAX_FURTHER, most=True),
        "further_trial_with_final_training": (spent["shared"] + trained["shared"]) / (search + trained["independent"]),
        "warmup": warmup_seconds / search,
        "pool": pool_seconds / search,
        "top1_difference": difference(trials),
    }
    for number in sizes:
        asked = set(fractions(number, max(sizes)))
        num_trials = number * len(ranges)
        one: dict[str, Any] = {"searches": (warmup_seconds + pool_seconds + num_trials * spent["shared"]) / search}
        for target, within in ranges.items():
            one[target] = fronts([t for t in trials if t.target == target and t.fraction in asked], within)
        found[f"{number}_trials_per_target"] = one
    return found


def fronts(trials: Sequence[Trial], within: Range) -> dict[str, Any]:
    """Return the areas under the fronts of one target, by mode and as a share, over the seeds; and top-1 compared."""
    areas = {
        mode: [
            hypervolume([(t.cost, t.top1) for t in trials if (t.mode, t.seed) == (mode, seed)], within)
            for seed in sorted({t.seed for t in trials})
        ]
        for mode in MODES
    }
    shares = [mine / other for mine, other in zip(areas["shared"], areas["independent"], strict=True)]
    return {
        **{mode: statistics.fmean(areas[mode]) for mode in MODES},
        "shared_by_independent": wanted(statistics.fmean(shares), MIN_HYPERVOLUME, most=False),
        "spread_of_seeds": statistics.stdev(shares) if len(shares) > 1 else None,
        "top1_difference": difference(trials),
    }


def run_trial(asked: argparse.Namespace, seeded: Seeded, costs: CostTable, mode: Mode, fraction: float) -> Trial:
    """Return what a search and the final training come to, going on from what is kept.

    Raises:
        InputError: If it was kept under another table.
    """
    file = seeded.folder / f"{costs.name}-{mode}-{fraction:.4g}.json"
    if not file.exists():
        write_whole(file, to_json(_trial(asked, seeded, costs, mode, fraction)).encode())
    trial: Trial = read_json(Trial, file.read_bytes(), str(file))
    require_budget(file, trial.budget, budget_of(costs, fraction))
    where = f"seed {trial.seed}, {trial.target}, {mode}, {fraction:.3f}"
    say(f"{where}: {trial.search_seconds:.1f} + {trial.train_seconds:.1f} CPU s, {trial.top1:.1%}")
    return trial


def _trial(asked: argparse.Namespace, seeded: Seeded, costs: CostTable, mode: Mode, fraction: float) -> Trial:
    start, shared = time.process_time(), mode == "shared"
    supernet = seeded.supernet if shared else copy.deepcopy(seeded.supernet)
    budget = budget_of(costs, fraction)
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
    searched = time.process_time()
    network = specialise(supernet, supernet.space.architecture(path), inherit=True, seed=seeded.seed)
    train = TrainSettings(num_steps=asked.train_steps, batch_size=64, learning_rate=0.05, recalibration_batches=8)
    training = Training(network, train, seeded.data, seed=seeded.seed)
    while not training.done:
        training.step()
    training.finish()
    return Trial(
        seed=seeded.seed,
        target=costs.name,
        mode=mode,
        fraction=fraction,
        budget=budget,
        path=path,
        cost=costs.total(path),
        search_seconds=searched - start,
        train_seconds=time.process_time() - searched,
        top1=training.evaluate("test").top1,
    )


def _costs(target: Target, space: Space, asked: argparse.Namespace) -> CostTable:
    return table_of(space, target, asked).cost_table() if target.measured else cost_table(space, target, "")


def main() -> None:
    """Run what is left and print what it came to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep_cost", description=__doc__)
    add_arguments(parser, work="sweep-cost-runs")
    parser.add_argument("--targets", nargs="+", default=["ort-cpu-1t", "openvino-cpu-1t"])
    parser.add_argument("--trials", nargs="+", type=int, default=[2, 4, 8, 12], help="trials per target, at least 2")
    parser.add_argument("--own-steps", type=int, default=800, help="weight steps of an independent search")
    parser.add_argument("--train-steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    every = [fractions(number, max(asked.trials)) for number in sorted(asked.trials)][-1]
    trials, warmups, pools = list[Trial](), list[float](), list[float]()
    for seed in range(asked.seeds):
        seeded = prepared(asked, seed)
        warmups.append(seeded.warmup_seconds)
        pools.append(seeded.pool.cpu_seconds)
        tables = [_costs(target, seeded.supernet.space, asked) for target in map(load_target, asked.targets)]
        # Both modes at each budget in turn: a slow moment of the machine meets both.
        trials += [
            run_trial(asked, seeded, costs, mode, fraction) for costs in tables for fraction in every for mode in MODES
        ]
    ranges = {costs.name: Range(budget_of(costs, LOWEST), budget_of(costs, HIGHEST)) for costs in tables}
    told = summary(trials, statistics.fmean(warmups), statistics.fmean(pools), ranges, sorted(asked.trials))
    rows = [{name: getattr(trial, name) for name in ROW} for trial in trials]
    report({**about(asked), **told, "rows": rows}, as_json=asked.json)


if __name__ == "__main__":
    sys.exit(in_a_sentence(main))
