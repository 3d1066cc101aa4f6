"""The trials that are left of a sweep, one by one as there is room for them: a list in its order, or points of a front.

Why here: what is stored decides, never what Ray remembers. A point is stored before its trial starts, so a restart
goes on with the same ones. Where a point goes stands in `plan.placement`; it must not know how trials are run.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.plan.expected import expected_front, table_error
from orchestrator.plan.limits import limits_of
from orchestrator.plan.placement import Point, next_point
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import Points, finished_results, known_trials, read_points, write_points
from orchestrator.plan.trials import Job, Trial, limit_kind, trial_key
from orchestrator.trial.pooling import read_pool
from supernet.cost import CostTable
from supernet.pool import Judged

NextTrial = Callable[[Mapping[str, CostTable]], Trial | None]
"""Makes the next trial of the targets whose costs it is given; none where these have none that is left now."""


def trials_left(job: Job, say: Callable[[str], None]) -> NextTrial:
    """Return what makes the unfinished trials of a sweep, each once and when it is asked for.

    Args:
        job: The sweep.
        say: Takes a line for the user.

    Raises:
        RunError: If the pool of judged paths is damaged.
    """
    if job.run.sweep.points:
        return Placing(job, say).next
    done = finished_results(job)
    return listed(trial for trial in known_trials(job) if trial.key not in done)


def listed(trials: Iterable[Trial]) -> NextTrial:
    """Return what gives listed trials, in their order."""
    left = list(trials)

    def next_trial(costs: Mapping[str, CostTable]) -> Trial | None:
        found = next((trial for trial in left if trial.target in costs), None)
        if found:
            left.remove(found)
        return found

    return next_trial


@dataclass(frozen=True)
class _Front:
    """What is expected of one target, and by how much costs of two points must differ."""

    expected: list[Point]
    nearest: float


class Placing:
    """Points of several targets, by turns: first those that were placed before and are not finished, then new ones.

    What is expected comes from the sweep's pool of judged paths; where it has none, from the tables alone.

    Args:
        job: The sweep.
        say: Takes a line for the user.
    """

    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        self.job, self.say = job, say
        self._pool: Sequence[Judged] = read_pool(job.store) if job.run.fills_pool else ()
        self._fronts: dict[str, _Front] = {}
        self._given: set[str] = set()

    def _expected(self, name: str, costs: CostTable) -> list[Point]:
        space, run = self.job.space, self.job.run
        reference = Trial("", costs.name, "weight", 1.0).reference(costs, run.search.objective.reference)
        return expected_front(
            costs,
            self._pool,
            weighted=run.weighted,
            reference=reference,
            num_classes=space.num_classes,
            limits=limits_of(run, space, self.job.target(name)),
        )

    def next(self, costs: Mapping[str, CostTable]) -> Trial | None:
        """Return the next trial of some targets, until each has its points, or no room for more.

        Args:
            costs: Of these targets. What was expected of one stays, whatever becomes of its table.
        """
        for name in costs.keys() - self._fronts.keys():
            self._fronts[name] = _Front(self._expected(name, costs[name]), table_error(costs[name]))
        points = read_points(self.job)
        while True:
            done = finished_results(self.job)
            for trial in points.trials:
                if trial.target in costs and trial.key not in done and trial.key not in self._given:
                    self._given.add(trial.key)
                    return trial
            more = self._placed(costs, points, done)
            if more == points:
                return None
            write_points(self.job, more)
            points = more

    def _placed(self, targets: Collection[str], points: Points, done: Mapping[str, TrialResult]) -> Points:
        """Return the points with one more, of the target that has the fewest; or with a target that is full."""
        for name in sorted(targets, key=lambda name: len(points.of(name))):
            mine, front = points.of(name), self._fronts[name]
            if name in points.full or len(mine) >= (self.job.run.sweep.points or 0):
                continue
            found = [point for trial in mine if trial.key in done and (point := _point(trial, done[trial.key]))]
            place = next_point(front.expected, [trial.value for trial in mine], found, front.nearest)
            if place is None:
                self.say(f"{name}: its front has room for {len(mine)} points, of {self.job.run.sweep.points} asked for")
                return replace(points, full=(*points.full, name))
            kind = "weight" if self.job.run.weighted else limit_kind(self.job.target(name))
            trial = Trial(trial_key(name, kind, place.value, "sweep.points"), name, kind, place.value)
            return replace(points, trials=(*points.trials, trial))
        return points


def _point(trial: Trial, result: TrialResult) -> Point | None:
    """Return a trial as a point, unless its network was rejected; the test split chooses nothing."""
    if not result.done or result.cost is None or result.validation_top1 is None:
        return None
    return Point(trial.value, result.cost, result.validation_top1)
