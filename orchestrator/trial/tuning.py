"""Ray Tune: runs trials as they are made, and hands over each result as it comes.

Why here: the only file that knows Ray Tune. A trial starts a job of Ray Train, or is its one rank; what it does stands
in `trial`, and which one is next in `placing`. A trial is not compared with trials of other targets or budgets, so no
scheduler stops any. Ray's own record of the experiment is not used to continue: what is stored in the trials' folders
is.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from orchestrator.cluster.session import HEAD_RESOURCE
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import Job, Trial
from supernet.cost import CostTable
from supernet.plain import read, to_plain

Turn = tuple[Trial, CostTable]
"""A trial that can begin, and the costs of its target."""

Take = Callable[[Trial, TrialResult], None]


class OneByOne(Searcher):  # type: ignore[misc]
    """Suggests the next trial as soon as there is one that can begin; what becomes of it, the iterator finds stored."""

    def __init__(self, turns: Iterator[Turn | None]) -> None:
        super().__init__()
        self.turns = turns

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: the trials are made in this process only."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial as configuration; none where it has to wait, Tune asks again."""
        try:
            turn = next(self.turns)
        except StopIteration:
            return str(Searcher.FINISHED)
        return turn and {"trial": to_plain(turn[0]), "costs": to_plain(turn[1])}

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Say that this is seen to, by the turns: Tune goes by it only in how many processes it starts at once."""
        return True

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: Ray's record is not used to continue."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, as nothing is saved."""


class HandOver(tune.Callback):  # type: ignore[misc]
    """Passes results on in the driver's process; Ray stores callbacks, and this one has nothing to store."""

    def __init__(self, job: Job, take: Take) -> None:
        self.job, self.take = job, take

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: the receiver lives in this process only."""
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Take the result that a trial returned."""
        self.take(read(Trial, trial.config["trial"], "trial"), read(TrialResult, trial.last_result["result"], "result"))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Make a result of a trial whose process is gone."""
        known, costs = read(Trial, trial.config["trial"], "trial"), read(CostTable, trial.config["costs"], "costs")
        reason = f"the trial's process ended; see {trial.error_file or trial.local_path}"
        self.take(known, self.job.result(known, budget=known.budget(costs), status="failed", reason=reason))


def tune_trials(
    job: Job, turns: Iterator[Turn | None], take: Take, *, here: bool, own: Mapping[str, Job] | None = None
) -> None:
    """Run trials in the given order.

    Args:
        job: The sweep.
        turns: What is left of it; asked for the next one again and again, in this process. None where it has to wait.
        take: Called in this process with each trial and its result, failed ones too.
        here: Whether a trial's rank is the trial's own process, see `room.runs_here`.
        own: Jobs of trials that are not of the sweep's, by key.
    """
    run, plain = job.run, job.to_dict()
    plain_own = {key: other.to_dict() for key, other in (own or {}).items()}

    def trainable(config: dict[str, Any]) -> dict[str, Any]:
        from orchestrator.trial.trial import run_trial

        trial, costs = read(Trial, config["trial"], "trial"), read(CostTable, config["costs"], "costs")
        return {"result": to_plain(run_trial(Job(**plain_own.get(trial.key, plain)), trial, costs, here=here))}

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"CPU": run.workers.cpus if here else 0, HEAD_RESOURCE: 0.001}),
        tune_config=tune.TuneConfig(
            search_alg=OneByOne(turns),
            num_samples=-1,  # until there is no further one
            max_concurrent_trials=run.max_concurrent,
            reuse_actors=True,  # a new process for each trial takes seconds to import what the last one has
            trial_name_creator=lambda trial: trial.config["trial"]["key"],
            trial_dirname_creator=lambda trial: trial.config["trial"]["key"],
        ),
        run_config=tune.RunConfig(
            name=f"tune-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}",
            storage_path=job.store.child("ray").uri,
            # Only what was lost is tried again: what fails in a trial's process is a result with a reason.
            failure_config=tune.FailureConfig(max_failures=run.checkpoint.max_failures),
            callbacks=[HandOver(job, take)],
            verbose=0,
        ),
    )
    tuner.fit()
