"""What the folder of a sweep tells of its trials: which there are, placed points among them, and their results.

Why here: driver, front, registry and report must find the same trials, also after a restart. It must not know how a
point is placed, nor how anything is run.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from orchestrator.data.storage import Storage
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import POINTS_FILE, REGISTERED_FILE, RESULT_FILE, Job, Trial, plan_trials
from supernet.errors import InputError, RunError
from supernet.plain import read_json, read_sealed, to_sealed


@dataclass(frozen=True)
class Points:
    """Trials that were placed, in that order.

    Attributes:
        trials: Of all targets.
        full: Targets whose front has room for no further one.
    """

    trials: tuple[Trial, ...] = ()
    full: tuple[str, ...] = ()

    def of(self, target: str) -> list[Trial]:
        """Return those of one target."""
        return [trial for trial in self.trials if trial.target == target]


def read_points(job: Job) -> Points:
    """Return what was placed so far for a sweep's targets under its objective.

    Raises:
        RunError: If the file is damaged.
    """
    store = job.store
    if not job.run.sweep.points or not store.exists(POINTS_FILE):
        return Points()
    try:
        found: Points = read_sealed(Points, store.read(POINTS_FILE), POINTS_FILE)
    except InputError as error:
        raise RunError(
            f"{store.uri}/{POINTS_FILE}: damaged ({error}); remove it and run the command again: points are placed "
            "anew, and finished trials found where a point is the same"
        ) from error
    trials = (t for t in found.trials if t.target in job.targets and (t.kind == "weight") == job.run.weighted)
    return Points(tuple(trials), tuple(name for name in found.full if name in job.targets))


def write_points(job: Job, points: Points) -> None:
    """Store what was placed, before anything is made of it."""
    job.store.write(POINTS_FILE, to_sealed(points).encode())


def known_trials(job: Job) -> list[Trial]:
    """Return the trials of a sweep: those that its configuration lists, or the points that were placed so far.

    Targets stand in the user's order, and the smallest value first.
    """
    placed, order = read_points(job).trials, list(job.targets)
    return plan_trials(job.run) + sorted(placed, key=lambda trial: (order.index(trial.target), trial.value))


def num_left(job: Job, done: Collection[str]) -> dict[str, int]:
    """Return how many trials are left, by target, where any are; of points, how many there may be at most.

    Args:
        job: The sweep.
        done: Keys of trials that are finished.
    """
    points, trials = read_points(job), known_trials(job)
    left = {name: sum(t.target == name and t.key not in done for t in trials) for name in job.targets}
    for name in job.targets:
        if job.run.sweep.points and name not in points.full:
            left[name] += max(0, job.run.sweep.points - len(points.of(name)))
    return {name: number for name, number in left.items() if number}


def stored_results(job: Job) -> dict[str, TrialResult]:
    """Return the results of a sweep's trials, where there are any, by key, with the model URI where registered.

    A file that is damaged fails its trial, and no other.
    """
    there = [trial for trial in known_trials(job) if job.trial_store(trial).exists(RESULT_FILE)]
    return {trial.key: stored_result(job, trial) for trial in there}


def finished_results(job: Job) -> dict[str, TrialResult]:
    """Return those of `stored_results` that need not be made again."""
    return {key: result for key, result in stored_results(job).items() if result.finished}


def stored_result(job: Job, trial: Trial) -> TrialResult:
    """Return the result that a trial's folder holds; a failed one if the file is damaged."""
    store = job.trial_store(trial)
    place = f"{store.uri}/{RESULT_FILE}"
    try:
        result: TrialResult = read_sealed(TrialResult, store.read(RESULT_FILE), place)
        if (result.sweep, result.trial) != (job.sweep, trial.key):
            raise InputError(f"{place}: belongs to trial {result.trial!r} of sweep {result.sweep!r}")
    except InputError as error:
        result = job.result(trial, status="failed", reason=f"{error}; `onepath sweep` makes it again")
    return replace(result, model_uri=_registered_uri(store))


def _registered_uri(store: Storage) -> str:
    """Return where a trial's network is registered; empty where that is not known, and the next sweep finds out."""
    try:
        known = read_json(dict[str, str], store.read(REGISTERED_FILE), REGISTERED_FILE)
    except (InputError, FileNotFoundError):
        return ""
    return str(known.get("model_uri", ""))
