"""Searches trained supernets under budgets of multiply-adds by every estimator and derivation, and keeps what is found.

It must not know the table of true accuracies. Beside it stands what needs no search: the pool alone, and the best, by
shared weights, of random paths close under the budget.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from benchmarks.macro.images import MacroImages
from benchmarks.macro.judging import derive_settings, has_own, judge_of
from benchmarks.macro.supernets import Run, read_settings
from supernet.cost import CostTable, macs_table
from supernet.derive import Derivation, StrategyName, pick
from supernet.estimators import EstimatorName
from supernet.files import write_whole
from supernet.judging import PathJudge
from supernet.loop import Search
from supernet.network import Supernet
from supernet.plain import read, read_json, to_json
from supernet.pool import Judged, pool_paths
from supernet.rng import generator
from supernet.search_settings import SearchSettings
from supernet.space import Path

POOL_FILE = "pool.json"

NOTHING: Literal["none"] = "none"

WITHOUT_SEARCH: tuple[StrategyName, ...] = ("judged", "pool")
"""What is derived where all paths are as probable: `judged` is then the best, by shared weights, of random paths."""

AFTER_SEARCH: tuple[StrategyName, ...] = ("most-probable", "judged", "judged-pool")
"""What is derived from the distribution that a search ends with."""


@dataclass(frozen=True)
class Found:
    """What one search came to.

    Attributes:
        budget: Multiply-adds at most.
        estimator: Of alpha's gradient; `none` where nothing was searched and all paths are as probable.
        derivation: Strategy of `supernet.derive`.
        seed: Of the supernet and the search.
        path: What was found.
        num_macs: Its multiply-adds.
        seconds: CPU seconds of the search and the derivation, the pool aside.
    """

    budget: float
    estimator: EstimatorName | Literal["none"]
    derivation: StrategyName
    seed: int
    path: Path
    num_macs: int
    seconds: float


@dataclass(frozen=True)
class Pool:
    """The judged paths of one supernet, and the CPU seconds that they took."""

    judged: tuple[Judged, ...]
    seconds: float


def find(
    run: Run,
    supernet: Supernet,
    data: MacroImages,
    budgets: Sequence[float],
    estimators: Sequence[EstimatorName],
    say: Callable[[str], None],
) -> list[Found]:
    """Return what is found within each budget by each estimator and derivation, going on from what is known."""
    file = run.folder / "found.json"
    known: list[Found] = read_json(list[Found], file.read_bytes(), str(file)) if file.exists() else []
    ask = judge_of(supernet, data, own=has_own(run, data))
    pool = fill_pool(run, supernet, ask)
    wanted = [(budget, estimator) for estimator in (NOTHING, *estimators) for budget in budgets]
    for budget, estimator in wanted:
        derived = {found.derivation for found in known if (found.budget, found.estimator) == (budget, estimator)}
        if derived != set(derivations_of(estimator)):
            known = [found for found in known if (found.budget, found.estimator) != (budget, estimator)]
            known += _found(run, supernet, data, ask, pool, budget, estimator)
            write_whole(file, to_json(known).encode())
            say(f"{run.folder.name}: found by {estimator} within {budget / 1e6:g} M MACs")
    return [found for found in known if (found.budget, found.estimator) in wanted]


def derivations_of(estimator: EstimatorName | Literal["none"]) -> tuple[StrategyName, ...]:
    """Return the derivations that make sense after a search by an estimator, or after none."""
    return WITHOUT_SEARCH if estimator == NOTHING else AFTER_SEARCH


def fill_pool(run: Run, supernet: Supernet, ask: PathJudge) -> Pool:
    """Return the judged paths that serve all budgets of a supernet."""
    file = run.folder / POOL_FILE
    if not file.exists():
        start = time.process_time()
        judged = tuple(ask(pool_paths(supernet.space, derive_settings().pool_size, run.seed)))
        write_whole(file, to_json(Pool(judged, time.process_time() - start)).encode())
    return stored_pool(run)


def stored_pool(run: Run) -> Pool:
    """Return the pool that `fill_pool` stored."""
    file = run.folder / POOL_FILE
    pool: Pool = read_json(Pool, file.read_bytes(), str(file))
    return pool


def _found(
    run: Run,
    supernet: Supernet,
    data: MacroImages,
    ask: PathJudge,
    pool: Pool,
    budget: float,
    estimator: EstimatorName | Literal["none"],
) -> list[Found]:
    """Search by one estimator within one budget, and derive in every way that makes sense after it."""
    costs, start = macs_table(supernet.space), time.process_time()
    if estimator == NOTHING:
        even = [[1.0 / len(row)] * len(row) for row in costs.candidates]
        probs = torch.tensor(even, dtype=torch.float64)
    else:
        probs = searched_probs(run, supernet, data, costs, budget, estimator)
    searched = time.process_time() - start
    found = []
    for derivation in derivations_of(estimator):
        start = time.process_time()
        question = Derivation(
            probs,
            costs,
            budget,
            ask,
            lambda attempt: generator(run.seed, "derive", budget, attempt),
            pool=pool.judged,
            settings=replace(derive_settings(), strategy=derivation),
        )
        path = pick(question).path
        spent = searched + time.process_time() - start
        found.append(Found(budget, estimator, derivation, run.seed, path, int(costs.total(path)), spent))
    return found


def searched_probs(
    run: Run, supernet: Supernet, data: MacroImages, costs: CostTable, budget: float, estimator: EstimatorName
) -> Tensor:
    """Return the distribution that a search on the supernet's frozen weights ends with."""
    settings: SearchSettings = read(SearchSettings, read_settings()["search"], "settings.yaml.search")
    objective = replace(settings.objective, kind="budget", reference=budget)
    settings = replace(settings, estimator=estimator, objective=objective)
    search = Search(supernet, costs, settings, data, seed=run.seed)
    while not search.done:
        search.step()
    return search.alpha.probs().detach()
