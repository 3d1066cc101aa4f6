"""From a searched distribution to one path: how a trial judges and measures paths, for `supernet.derive` to pick.

Why here: what was measured decides the pick, so it is kept as soon as it is known. It must not know the strategies.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from orchestrator.data.batches import ImageData
from orchestrator.data.storage import Storage
from orchestrator.plan.news import News
from orchestrator.plan.trials import FINDINGS_FILE, MEASURED_FILE, Job, Trial
from orchestrator.trial.place import Place
from orchestrator.trial.pooling import judge_of, whole_pool
from orchestrator.trial.records import Findings, read_record, write_record
from supernet.cost import CostTable
from supernet.derive import Derivation, by_chance, pick
from supernet.errors import RunError
from supernet.health import mean_entropy
from supernet.judging import RankedJudge
from supernet.loop import Search
from supernet.rng import generator
from supernet.space import Architecture, Path


@dataclass(frozen=True)
class Figure:
    """What a network takes on the trial's target by one measurement, or by counting.

    Attributes:
        most: As far as its error is known, in the unit of the target's table.
        disturbed: Why it may be more than the network takes, and what to do about it; empty if it is believed.
    """

    most: float
    disturbed: str = ""


Measure = Callable[[Architecture], Figure]
"""From an architecture to what it takes on the trial's target."""


def remembered(
    measure: Measure, store: Storage, budget: float | None, *, alone: bool = False
) -> Callable[[Architecture], float]:
    """Return what gives measured costs, each kept in the trial's folder as soon as it is known.

    Measured figures decide which network is picked; a second measurement after a restart would differ a little
    and could decide otherwise. Disturbances only add: by a figure that cannot be believed a network may be within its
    budget, but none is over it, and such a figure is not kept.

    Args:
        measure: Measures a network.
        store: The trial's folder.
        budget: That a network must keep; None for none.
        alone: Whether nothing runs beside the network that would tell a disturbance: one over the budget is measured
            once more before it decides, and the lower figure counts.

    Returns:
        From an architecture to its cost; raises RunError where it is over the budget by a disturbed figure.
    """

    def recall(architecture: Architecture) -> float:
        kept = store.exists(MEASURED_FILE)
        known: dict[str, float] = read_record(store, MEASURED_FILE, dict[str, float]) if kept else {}
        if architecture.id in known:
            return known[architecture.id]
        figure = measure(architecture)
        if alone and budget is not None and figure.most > budget:
            figure = min(figure, measure(architecture), key=lambda found: found.most)
        if figure.disturbed:
            if budget is not None and figure.most > budget:
                raise RunError(f"a network seems over its budget, but {figure.disturbed}")
            return figure.most
        write_record(store, MEASURED_FILE, known | {architecture.id: figure.most})
        return figure.most

    return recall


def derive_path(
    job: Job, trial: Trial, costs: CostTable, search: Search, data: ImageData, place: Place, measure: Measure
) -> Path:
    """Pick the trial's network: rank 0 decides, all ranks judge; every rank returns the same path.

    The limit is that of the search; `costs` may be a corrected table, which other networks keep it by.
    """
    chosen = torch.zeros(len(search.supernet.space.positions), dtype=torch.int64)
    judge = judge_of(job, trial.key, search.supernet, data, place)
    if place.sync.rank == 0:
        alone = job.target(trial.target).traits.external
        known = remembered(measure, job.trial_store(trial), trial.budget(search.costs), alone=alone)
        chosen = torch.tensor(_pick(job, trial, costs, search, data, place, judge, known), dtype=torch.int64)
        judge.stop()
    else:
        judge.serve()
    chosen = chosen.to(place.device)
    place.sync.broadcast([chosen])
    return tuple(int(i) for i in chosen)


def _pick(
    job: Job,
    trial: Trial,
    costs: CostTable,
    search: Search,
    data: ImageData,
    place: Place,
    judge: RankedJudge,
    measure: Callable[[Architecture], float],
) -> Path:
    """Say how paths are judged and measured, and let `supernet.derive` pick one."""
    settings, space, run = job.run.derive, search.supernet.space, job.run
    budget = trial.budget(search.costs)
    question = Derivation(
        search.alpha.probs(),
        costs,
        budget,
        judge,
        lambda attempt: generator(run.seed, "derive", trial.key, attempt),
        pool=whole_pool(job, judge, search.alpha.alive) if settings.uses_pool and budget is not None else (),
        measure=lambda path: measure(space.architecture(path)),
        limits=search.limits,
        settings=settings,
        tell=lambda what, step, num_steps: place.post(News(trial.key, f"derive: {what}", step, num_steps)),
    )
    if costs != search.costs:
        question.budget = within_reach(question)
    derived = pick(question)
    probs = search.alpha.probs().detach()
    draws = generator(run.seed, "chance", trial.key)
    chance = by_chance(question, derived.path, max(1, len(derived.judged)), draws)
    findings = Findings(
        entropy=mean_entropy(probs),
        start_entropy=search.start_entropy,
        expected_cost=float(search.costs.expected(probs)),
        judged=derived.judged,
        chosen=question.judge([derived.path])[0],
        chance=tuple(chance),
        num_images=min(settings.max_validation_images, data.num_examples("validation")),
        num_classes=space.num_classes,
    )
    write_record(job.trial_store(trial), FINDINGS_FILE, findings)
    return derived.path


def within_reach(question: Derivation) -> float | None:
    """Return the budget, or the cost of the cheapest network that is left where a corrected table has none within it.

    What is measured of that network then decides, and the gate rejects it if it must.
    """
    return question.budget and max(question.budget, question.least)
