"""What is left to do of a sweep, which may have begun, by what is stored of it. Starts nothing, and changes no file.

Why here: a forecast is of what the same command would do now, or refuse. It must not know how long anything takes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.plan.baselines import known_network, missing_baselines, num_beside, stored_baselines
from orchestrator.plan.check import resolved
from orchestrator.plan.config import RunConfig
from orchestrator.plan.continued import check_continued, stored_config
from orchestrator.plan.cross import columns_of, crossed, missing_columns
from orchestrator.plan.images import prepared_images
from orchestrator.plan.objectives import costs_at_hand
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import finished_results, known_trials, num_left
from orchestrator.plan.trials import CONFIG_FILE, POOL_FILE, WARMUP_FILE, Job, Trial
from supernet.presets import load_space


@dataclass(frozen=True)
class Left:
    """What is left of a sweep.

    Attributes:
        trials: Those that are known by name and not finished.
        by_target: How many trials each target has left, where any are; of points, how many there may be at most.
        num_finished: Trials that are finished.
        baselines: How many each target has left.
        num_trained: Baselines that are trained: the others take over the weights of the same network at the same width.
        num_crossed: Measurements of the cross table: each network of a front and each baseline on each target.
        warmup: Whether its supernet is not trained yet.
        pool: Whether its pool is not filled yet, if it has one.
        tables: Targets whose costs are known before anything is measured.
    """

    trials: tuple[Trial, ...]
    by_target: dict[str, int]
    num_finished: int
    baselines: dict[str, int]
    num_trained: int
    num_crossed: int
    warmup: bool
    pool: bool
    tables: frozenset[str]

    @property
    def num_trials(self) -> int:
        """How many trials are left, of all targets."""
        return sum(self.by_target.values())

    @property
    def num_baselines(self) -> int:
        """How many baselines are left, of all targets."""
        return sum(self.baselines.values())


def left_of(run: RunConfig, *, fewest: bool = False) -> Left:
    """Return what is left of a sweep, at most: baselines of each name beside every network of the fronts.

    Args:
        run: The sweep.
        fewest: Whether one width of each name stands beside all networks of the fronts that are to come.

    Raises:
        InputError: As `job_of`.
    """
    job = job_of(run)
    done = finished_results(job)
    by_target = num_left(job, done)
    passed = [result for result in done.values() if result.done]
    baselines = _baselines(job, passed, by_target, fewest=fewest)
    return Left(
        tuple(trial for trial in known_trials(job) if trial.key not in done),
        by_target,
        len(done),
        dict(Counter(target for target, _ in baselines)),
        len({name for _, name in baselines} if fewest else baselines),
        _num_crossed(job, passed, sum(by_target.values()), len(baselines)),
        warmup=bool(by_target) and not job.store.exists(WARMUP_FILE),
        pool=bool(by_target) and run.fills_pool and not job.store.exists(POOL_FILE),
        tables=frozenset(costs_at_hand(job)),
    )


def _baselines(
    job: Job, passed: Sequence[TrialResult], by_target: Mapping[str, int], *, fewest: bool
) -> list[tuple[str, str]]:
    """Return target and name of each baseline that is left, see `left_of`."""
    missing = [(baseline.target, baseline.network.name) for baseline in missing_baselines(job, passed)]
    names = [known_network(reference).name for reference in job.run.baselines]
    coming = [(target, name) for target in by_target if num_beside(job, target) for name in names]
    if not fewest:
        return missing + [(target, name) for target, name in coming for _ in range(by_target[target])]
    there = {(result.target, result.baseline) for result in stored_baselines(job, passed)}
    return sorted({*missing, *(set(coming) - there)})


def _num_crossed(job: Job, passed: Sequence[TrialResult], num_trials: int, num_baselines: int) -> int:
    """Return how many measurements the cross table still takes: one more network, and it is measured anew."""
    results = [*passed, *stored_baselines(job, passed)]
    networks = crossed(results)
    if not (num_trials or num_baselines):
        return len(networks) * len(missing_columns(job, results))
    baselines = bool(num_baselines) or any(network.baseline for network in networks)
    num_networks = len(networks) + num_trials + num_baselines
    return num_networks * len(columns_of(job, num_networks, baselines=baselines))


def job_of(run: RunConfig) -> Job:
    """Return a sweep as the same command would run it, with as many classes as its images, as far as these are known.

    Raises:
        InputError: If what has begun of it has other settings, or prepared images are split otherwise.
    """
    plain = resolved(run)
    job = Job(plain, "")
    stored = stored_config(job.store) if job.store.exists(CONFIG_FILE) else None
    if stored is not None:
        num_classes = load_space(stored.get("space", {}), f"{job.store.uri}/{CONFIG_FILE}.space").num_classes
    elif images := prepared_images(run):
        num_classes = images.num_classes
    else:
        return job
    job = Job({**plain, "space": {**plain["space"], "num_classes": num_classes}}, "")
    if stored is not None:
        check_continued(stored, job)
    return job
