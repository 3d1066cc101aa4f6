"""Ray Train: runs a job's stages on data-parallel workers, with checkpoints that survive any of them.

Why here: the only file that knows Ray Train. What the workers compute stands in `stages`.
"""

import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchTrainer

from orchestrator.devices import measure_on_target
from orchestrator.plan import Job, Trial
from orchestrator.progress import poster
from orchestrator.stages import Place, run_trial_stages, run_warmup
from supernet.cost import CostTable
from supernet.errors import InputError, RunError
from supernet.space import Architecture
from supernet.sync import default_sync

STATE_FILE = "state.pt"


class TrainSaver:
    """Checkpoints through `ray.train.report`, which is a barrier: every rank saves at the same steps.

    Ray registers a checkpoint some time after it was reported, so a restart may find the one before; steps
    are pure functions of their index, so repeating them changes nothing.
    """

    def __init__(self, every_steps: int) -> None:
        self.every_steps = every_steps

    def load(self) -> dict[str, Any] | None:
        """Return the state of the last registered checkpoint."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            state: dict[str, Any] = torch.load(Path(folder) / STATE_FILE, weights_only=True, map_location="cpu")
        return state

    def due(self, step: int) -> bool:
        """Whether `step` is a multiple of the interval."""
        return step % self.every_steps == 0

    def save(self, state: Callable[[], dict[str, Any]], name: str) -> None:
        """Write on rank 0, upload in the background."""
        checkpoint = None
        if ray.train.get_context().get_world_rank() == 0:
            folder = tempfile.mkdtemp(prefix="onepath-checkpoint-")
            torch.save(state(), Path(folder) / STATE_FILE)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(
            {"name": name},
            checkpoint=checkpoint,
            checkpoint_dir_name=name,
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
            delete_local_checkpoint_after_upload=True,
        )


# What a restart of the workers cannot mend: wrong input, failed searches, and mistakes in programs.
FINAL_ERRORS = (
    InputError,
    RunError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    TypeError,
    ValueError,
)


def _worker(spec: Mapping[str, Any]) -> dict[str, str]:
    """What every rank runs.

    Returns:
        Kind and text of an error that a restart cannot mend, or nothing. Other errors are raised, and Ray
        restarts the workers from the last checkpoint.
    """
    try:
        _run_stages(spec)
    except FINAL_ERRORS as error:
        text = str(error) if isinstance(error, InputError | RunError) else _where(error)
        return {"kind": "input" if isinstance(error, InputError) else "run", "text": text}
    return {}


def _where(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


def _run_stages(spec: Mapping[str, Any]) -> None:
    job = Job(**spec["job"])
    workers = job.run.workers
    torch.set_num_threads(max(1, int(workers.cpus)))
    place = Place(
        sync=default_sync(),
        device=ray.train.torch.get_device(),
        saver=TrainSaver(job.run.checkpoint.every_steps),
        post=poster(),
    )
    if spec["trial"] is None:
        run_warmup(job, place)
        return
    trial = Trial(**spec["trial"])
    costs = CostTable(**{**spec["costs"], "candidates": tuple(map(tuple, spec["costs"]["candidates"]))})

    def measure(architectures: Sequence[Architecture]) -> list[float]:
        found = measure_on_target(job, trial.target, architectures)
        return [measurement.latency_ms for measurement in found]

    run_trial_stages(job, trial, costs, place, measure)


def run_job(job: Job, trial: Trial | None = None, costs: CostTable | None = None) -> None:
    """Run the warm-up (no trial) or one trial's stages on Ray Train, continuing what is there.

    Raises:
        RunError: If the workers failed more often than the configuration allows, with the last reason.
    """
    run, key = job.run, trial.key if trial else "warmup"
    workers = run.workers
    spec = {
        "job": job.to_dict(),
        "trial": trial.__dict__ if trial else None,
        "costs": {k: costs.__dict__[k] for k in ("name", "unit", "fixed", "candidates")} if costs else None,
    }
    trainer = TorchTrainer(
        _worker,
        train_loop_config=spec,
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers.max if workers.min == workers.max else (workers.min, workers.max),
            use_gpu=workers.gpus > 0,
            resources_per_worker={"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})}
            | workers.resources,
        ),
        run_config=ray.train.RunConfig(
            name=key,
            storage_path=job.store.child("train").uri,
            failure_config=ray.train.FailureConfig(
                max_failures=run.checkpoint.max_failures, controller_failure_limit=20
            ),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        result = trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise RunError(f"{key}: {failure_reason(error)}") from error
    failure = result.return_value or {}
    if failure:
        raise {"input": InputError, "run": RunError}[failure["kind"]](f"{key}: {failure['text']}")


def failure_reason(error: BaseException) -> str:
    """Return the innermost reason of a failed run as one line."""
    inner: Sequence[BaseException] = list(getattr(error, "worker_failures", {}).values())
    text = str(inner[0] if inner else error).strip()
    return text.splitlines()[-1] if text else type(error).__name__
