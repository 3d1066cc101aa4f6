"""Ray Tune: runs trials as they are made, and hands over each result as it comes.

Why here: the only file that knows Ray Tune. A trial starts a job of Ray Train, or is its one rank; what it does stands
in `trial`, and which one is next in `placing`. A trial is not compared with trials of other targets or budgets, so no
scheduler stops any. Ray's own record of the experiment is not used to continue: what is stored in the trials' folders
is.
"""

import itertools
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

Take = Callable[[Trial, TrialResult], None]


class OneByOne(Searcher):  # type: ignore[misc]
    """Suggests the next trial whenever Tune has room for one; what becomes of it, the iterator finds stored."""

    def __init__(self, trials: Iterator[Trial]) -> None:
        super().__init__()
        self.trials = trials

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: the trials are made in this process only."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Return the next trial as configuration."""
        trial = next(self.trials, None)
        return Searcher.FINISHED if trial is None else {"trial": to_plain(trial)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: Ray's record is not used to continue."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, as nothing is saved."""


class HandOver(tune.Callback):  # type: ignore[misc]
    """Passes results on in the driver's process; Ray stores callbacks, and this one has nothing to store."""

    def __init__(self, take: Take) -> None:
        self.take = take

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: the receiver lives in this process only."""
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Take the result that a trial returned."""
        self.take(read(Trial, trial.config["trial"], "trial"), read(TrialResult, trial.last_result["result"], "result"))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Make a result of a trial whose process is gone."""
        known = read(Trial, trial.config["trial"], "trial")
        reason = f"the trial's process ended; see {trial.error_file or trial.local_path}"
        plain = {name: trial.config[name] for name in ("sweep", "objective", "seed")}
        plain["unit"] = trial.config["units"][known.target]
        self.take(known, TrialResult(trial=known.key, target=known.target, status="failed", reason=reason, **plain))


def tune_trials(
    job: Job, trials: Iterator[Trial], costs: Mapping[str, CostTable], take: Take, max_concurrent: int, *, here: bool
) -> None:
    """Run trials in the given order.

    Args:
        job: The sweep.
        trials: What is left of it; asked for the next one, in this process, whenever one more may run.
        costs: By target, where they are known already.
        take: Called in this process with each trial and its result, failed ones too.
        max_concurrent: At most so many at once.
        here: Whether a trial's rank is the trial's own process, see `room.runs_here`.
    """
    first = next(trials, None)
    if first is None:
        return
    run = job.run
    plain, known = job.to_dict(), to_plain(costs)

    def trainable(config: dict[str, Any]) -> dict[str, Any]:
        from orchestrator.trial.trial import run_trial

        trial = read(Trial, config["trial"], "trial")
        costs = read(CostTable | None, known.get(trial.target), "costs")
        return {"result": to_plain(run_trial(Job(**plain), trial, costs, here=here))}

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"CPU": run.workers.cpus if here else 0, HEAD_RESOURCE: 0.001}),
        param_space={
            "sweep": run.name,
            "objective": run.search.objective.kind,
            "seed": run.seed,
            "units": {target.name: target.unit for target in run.load_targets()},
        },
        tune_config=tune.TuneConfig(
            search_alg=OneByOne(itertools.chain([first], trials)),
            num_samples=-1,  # until there is no further one
            max_concurrent_trials=max_concurrent,
            reuse_actors=True,  # a new process for each trial takes seconds to import what the last one has
            trial_name_creator=lambda trial: trial.config["trial"]["key"],
            trial_dirname_creator=lambda trial: trial.config["trial"]["key"],
        ),
        run_config=tune.RunConfig(
            name=f"tune-{time.strftime('%Y%m%d-%H%M%S')}-{first.target}",
            storage_path=job.store.child("ray").uri,
            # Only a process that dies is tried again: what fails in it is a result with a reason.
            failure_config=tune.FailureConfig(max_failures=run.checkpoint.max_failures),
            callbacks=[HandOver(take)],
            verbose=0,
        ),
    )
    tuner.fit()
