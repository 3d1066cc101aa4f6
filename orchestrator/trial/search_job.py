"""Ray Train: runs a job's stages on data-parallel workers until they end, or fail for good.

Why here: how a job is started, what is lost when it fails, and what the workers make of it. What they compute stands in
`stages`, whether a failed job is started again in `failures`.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchTrainer

from orchestrator.cluster.beside import measured_again
from orchestrator.cluster.checkpoints import Due
from orchestrator.cluster.devices import measure_on_target
from orchestrator.cluster.leftovers import remove_ownerless_groups
from orchestrator.cluster.progress import poster
from orchestrator.cluster.room import worker_resources
from orchestrator.cluster.session import HEAD_RESOURCE, signals_kept
from orchestrator.cluster.tasks import last_line, result_of
from orchestrator.cluster.usage import Usage, usage_told
from orchestrator.plan.config import RunConfig
from orchestrator.plan.news import SHARED_KEY, News
from orchestrator.plan.trials import TRAIN_FOLDER, WARMUP_KEY, Job, Trial
from orchestrator.trial.corrections import corrections_of, train_key
from orchestrator.trial.costs import NetworkCost
from orchestrator.trial.deriving import Figure
from orchestrator.trial.failures import Failure, FailurePolicy, Starts, is_final, run_to_end
from orchestrator.trial.place import Place
from orchestrator.trial.rendezvous import BoundTorch
from orchestrator.trial.saver import NUM_KEPT, FolderSaver, TrainSaver, drop_broken_record
from orchestrator.trial.stages import run_trial_stages, run_warmup
from supernet.cost import CostTable
from supernet.errors import InputError, RunError, where
from supernet.plain import read, to_plain
from supernet.space import Architecture
from supernet.sync import Sync, default_sync

# A rank may wait so much longer than `measure.wait_minutes` while another one derives a network.
PATIENCE_SECONDS = 3600.0

MAX_ROUNDS_WITHOUT_ROOM = 20
"""Ray waits so often, a minute each, for a cluster to have room for the workers."""


def _worker(spec: Mapping[str, Any]) -> None:
    """What every rank runs.

    Raises:
        InputError, RunError: What no restart can mend; it reaches `run_job` as itself, and ends the other ranks.
    """
    try:
        _run_stages(spec)
    except Exception as error:
        ours = isinstance(error, InputError | RunError)
        if is_final(error):
            raise error if ours else RunError(where(error)) from error
        raise OSError(str(error)) if ours else error from error


def _run_stages(spec: Mapping[str, Any]) -> None:
    job = Job(**spec["job"])
    workers = job.run.workers
    torch.set_num_threads(max(1, int(workers.cpus)))
    sync: Sync = default_sync()
    post = poster()
    due = Due(job.run.checkpoint.every_steps, job.run.checkpoint.every_seconds, sync)
    here = FolderSaver(due, job.store.child(TRAIN_FOLDER, spec["key"])) if spec["here"] else None
    place = Place(
        sync=sync,
        device=torch.device("cpu") if here else ray.train.torch.get_device(),
        saver=here or TrainSaver(due, sync),
        post=lambda news: post(replace(news, num_ranks=sync.num_ranks)),
    )
    trial, costs = read(Trial | None, spec["trial"], "trial"), read(CostTable | None, spec["costs"], "costs")
    key = trial.key if trial else SHARED_KEY
    try:
        with usage_told(key, sync.rank, place.post, Usage(place.device)):
            if trial is None:
                run_warmup(job, place)
            else:
                run_trial_stages(job, trial, costs, place, partial(_measured, job, trial, costs))
    except BaseException:
        if here:  # the next start writes to the same folder
            with contextlib.suppress(Exception):
                here.wait()
        raise
    if here:
        here.wait()
    elif sync.rank == 0:  # what follows until the job has ended is none of the ranks'
        post(News(key, "workers", num_ranks=0))


def _measured(job: Job, trial: Trial, costs: CostTable, architecture: Architecture) -> Figure:
    """Return what an architecture costs on the trial's target: as its table counts, or what it takes at most.

    That is measured beside the table's networks, as on the machine that it was measured on. The network that is trained
    must keep its budget when it is measured again, or the training is lost.
    """
    counted = costs.total(job.space.path(architecture))
    if not job.target(trial.target).measured:
        return Figure(counted)
    found = measure_on_target(job, trial.target, architecture, counted, trial.key)
    why = NetworkCost.measured(found).disturbed
    remedy = measured_again(job, trial.target, slowed=found.slowed)
    return Figure(found.as_known.surely_within_ms, f"{why}; {remedy}" if why else "")


def warm_up(job: Job, *, here: bool) -> None:
    """Run the warm-up in a process on the head, as trials are: a driver that is stopped then waits for nothing.

    Args:
        job: The sweep.
        here: See `room.runs_here`.

    Raises:
        InputError, RunError: See `run_job`.
    """
    cpus, retries = job.run.workers.cpus if here else 0, job.run.checkpoint.max_failures
    task = ray.remote(num_cpus=cpus, resources={HEAD_RESOURCE: 0.001}, max_retries=retries)
    result_of(task(run_job).remote(job, here=here), WARMUP_KEY)


def run_job(job: Job, trial: Trial | None = None, costs: CostTable | None = None, *, here: bool = False) -> None:
    """Run the warm-up (no trial) or one trial's stages on Ray Train, continuing what is there.

    Args:
        job: The sweep.
        trial: One of it.
        costs: By the table of its target.
        here: Whether the one rank is this process: then nothing has to start for it.

    Raises:
        InputError, RunError: See `run_to_end`.
    """
    key = train_key(trial.key, corrections_of(job.trial_store(trial))) if trial else WARMUP_KEY
    spec = {"job": job.to_dict(), "trial": to_plain(trial), "costs": to_plain(costs), "key": key, "here": here}
    policy = FailurePolicy(job.run.checkpoint.max_failures)
    starts = Starts(job.store, key, ray.get_runtime_context().namespace)

    def start() -> Failure | None:
        drop_broken_record(job.store.child(TRAIN_FOLDER, key))
        return _start_here(spec) if here else _start(_trainer(job.run, key, job.store.child(TRAIN_FOLDER).uri, spec))

    run_to_end(key, policy, starts, start)


def _start_here(spec: Mapping[str, Any]) -> Failure | None:
    """Be the one rank in this process to its end; return why it failed, or nothing."""
    try:
        _worker(spec)
    except (InputError, RunError) as error:
        return Failure(str(error), error)
    except Exception as error:
        return Failure(last_line(error))
    return None


def _start(trainer: TorchTrainer) -> Failure | None:
    """Run the workers to their end; return why they failed, or nothing."""
    put_back = signals_kept()
    try:
        trainer.fit()
    except ray.exceptions.RayActorError as error:
        reason = last_line(error)  # not the error: its traceback would keep the controller and its resources
    except ray.train.ControllerError as error:
        reason = last_line(error.controller_failure)
        if not isinstance(error.controller_failure, ray.exceptions.RayActorError):
            said = f"the workers could not be kept running: {reason}; the same command goes on from the last checkpoint"
            return Failure(reason, RunError(said))
    except ray.train.TrainingFailedError as error:
        failures = list(getattr(error, "worker_failures", {}).values())
        final = next((failure for failure in failures if isinstance(failure, InputError | RunError)), None)
        return Failure(last_line(failures[0] if failures else error), final)
    else:
        return None
    finally:
        put_back()
    remove_ownerless_groups()
    return Failure(reason)


class _Trainer(TorchTrainer):  # type: ignore[misc]
    """Ray's trainer without the process that it starts for Ray Data, two seconds of a core: there is none here."""

    def _create_default_callbacks(self) -> list[Any]:
        return [known for known in super()._create_default_callbacks() if type(known).__name__ != "DatasetsCallback"]


def _trainer(run: RunConfig, key: str, folder: str, spec: Mapping[str, Any]) -> TorchTrainer:
    workers = run.workers
    return _Trainer(
        _worker,
        train_loop_config=dict(spec),
        torch_config=BoundTorch(
            backend="nccl" if workers.gpus else "gloo",
            timeout_s=int(60 * run.measure.wait_minutes + PATIENCE_SECONDS),
        ),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers.max if workers.min == workers.max else (workers.min, workers.max),
            use_gpu=workers.gpus > 0,
            resources_per_worker=worker_resources(workers),
        ),
        run_config=ray.train.RunConfig(
            name=key,
            storage_path=folder,
            failure_config=ray.train.FailureConfig(max_failures=0, controller_failure_limit=MAX_ROUNDS_WITHOUT_ROOM),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=NUM_KEPT),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )
