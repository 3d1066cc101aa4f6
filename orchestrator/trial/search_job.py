"""Ray Train: runs a job's stages on data-parallel workers, with checkpoints that survive any of them.

Why here: the only file that knows Ray Train. What the workers compute stands in `stages`.
"""

import io
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer

from orchestrator.cluster.checkpoints import Due, OneAtATime, snapshot
from orchestrator.cluster.devices import measure_on_target
from orchestrator.cluster.leftovers import remove_ownerless_groups
from orchestrator.cluster.progress import poster
from orchestrator.data.storage import Storage, write_whole
from orchestrator.plan.config import RunConfig
from orchestrator.plan.trials import WARMUP_KEY, Job, Trial
from orchestrator.trial.stages import Place, run_trial_stages, run_warmup
from supernet.cost import CostTable
from supernet.errors import InputError, RunError
from supernet.space import Architecture
from supernet.sync import Sync, default_sync

STATE_FILE = "state.pt"
FAILURES_FOLDER = "failures"

# A rank may wait so much longer than `measure.wait_minutes` while another one derives a network.
PATIENCE_SECONDS = 3600.0


class TrainSaver:
    """Checkpoints through `ray.train.report`, which is a barrier: every rank saves at the same steps.

    A step pays for a copy of the state in memory; writing goes on beside the next steps. Ray registers a
    checkpoint some time after it was written, so a restart may find the one before; steps are pure functions of
    their index, so repeating them, and writing the same checkpoint again, changes nothing.
    """

    def __init__(self, due: Due) -> None:
        self.due = due
        self._writing = OneAtATime()

    def load(self) -> dict[str, Any] | None:
        """Return the state of the last registered checkpoint."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            state: dict[str, Any] = torch.load(Path(folder) / STATE_FILE, weights_only=True, map_location="cpu")
        return state

    def save(self, state: Callable[[], dict[str, Any]], name: str) -> None:
        """Copy the state on rank 0 and write it in the background; a copy waits for the one before."""
        checkpoint, upload = None, None
        if ray.train.get_context().get_world_rank() == 0:
            self._writing.begin()
            copied = snapshot(state())
            storage = ray.train.get_context().get_storage()
            path = storage.build_checkpoint_path_from_name(name)
            checkpoint = ray.train.Checkpoint(path=path, filesystem=storage.storage_filesystem)
            write = self._writing.wrap(lambda: _write_state(copied, checkpoint))
            upload = lambda placeholder, folder: write()  # noqa: E731
        ray.train.report(
            {"name": name},
            checkpoint=checkpoint,
            checkpoint_dir_name=name,
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
            checkpoint_upload_fn=upload,
            delete_local_checkpoint_after_upload=False,
        )


def _write_state(state: dict[str, Any], checkpoint: ray.train.Checkpoint) -> ray.train.Checkpoint:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(checkpoint.filesystem, f"{checkpoint.path}/{STATE_FILE}", buffer.getbuffer())
    return checkpoint


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


class LastError(Exception):
    """Ends the workers of a run for good; its reason is stored, see `_worker`."""


def _worker(spec: Mapping[str, Any]) -> dict[str, str]:
    """What every rank runs.

    An error that a restart cannot mend is stored before it is raised: one rank's return would leave the others
    waiting for it in a collective for ever. Ray restarts the workers, and they end at once.

    Returns:
        Kind and text of such an error, or nothing. Of other errors Ray restarts the workers from the last
        checkpoint.
    """
    failures, name = _failures(spec)
    if failures.exists(name):
        return dict(failures.read_json(name))
    try:
        _run_stages(spec)
    except FINAL_ERRORS as error:
        text = str(error) if isinstance(error, InputError | RunError) else _where(error)
        failure = {"kind": "input" if isinstance(error, InputError) else "run", "text": text}
        if ray.train.get_context().get_world_size() == 1:
            return failure
        failures.write_json(name, failure)
        raise LastError(text) from error
    return {}


def _failures(spec: Mapping[str, Any]) -> tuple[Storage, str]:
    """Return where this run of a job stores an error that a restart cannot mend."""
    return Job(**spec["job"]).store.child(FAILURES_FOLDER), f"{spec['run']}.json"


def _where(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


def _run_stages(spec: Mapping[str, Any]) -> None:
    job = Job(**spec["job"])
    workers = job.run.workers
    torch.set_num_threads(max(1, int(workers.cpus)))
    sync: Sync = default_sync()
    place = Place(
        sync=sync,
        device=ray.train.torch.get_device(),
        saver=TrainSaver(Due(job.run.checkpoint.every_steps, job.run.checkpoint.every_seconds, sync)),
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
    run, key = job.run, trial.key if trial else WARMUP_KEY
    spec = {
        "job": job.to_dict(),
        "run": f"{key}-{uuid.uuid4().hex[:8]}",
        "trial": trial.__dict__ if trial else None,
        "costs": {k: costs.__dict__[k] for k in ("name", "unit", "fixed", "candidates")} if costs else None,
    }
    failures, name = _failures(spec)
    try:
        failure = _fit(run, key, job.store.child("train").uri, spec)
    except ray.train.TrainingFailedError as error:
        if not failures.exists(name):
            raise RunError(f"{key}: {failure_reason(error)}") from error
        failure = failures.read_json(name)
    if failure:
        raise {"input": InputError, "run": RunError}[failure["kind"]](f"{key}: {failure['text']}")


def _fit(run: RunConfig, key: str, folder: str, spec: Mapping[str, Any]) -> dict[str, str]:
    """Run the workers to their end and return what rank 0 returned.

    Ray restarts workers, but not the process that controls them, nor a worker that dies while its function is handed
    to it. Both are restarted here, and go on by the run's name.

    Raises:
        TrainingFailedError: If the workers failed too often.
        RunError: If they were restarted here too often.
    """
    for _ in range(run.checkpoint.max_failures + 1):
        try:
            returned: dict[str, str] | None = _in_thread(_trainer(run, key, folder, spec).fit).return_value
            return returned or {}
        except ray.exceptions.RayActorError as error:
            lost = str(error)
        except ray.train.ControllerError as error:
            if not isinstance(error.controller_failure, ray.exceptions.RayActorError):
                raise
            lost = str(error.controller_failure)
        remove_ownerless_groups()
    raise RunError(f"{key}: the workers or their controller were lost too often (checkpoint.max_failures): {lost}")


def _in_thread(fit: Callable[[], ray.train.Result]) -> ray.train.Result:
    """Call it in a thread of its own: in the main one Ray Train takes Ctrl-C over, and keeps its controller alive."""
    outcome: Future[ray.train.Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(fit())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result()


def _trainer(run: RunConfig, key: str, folder: str, spec: Mapping[str, Any]) -> TorchTrainer:
    workers = run.workers
    return TorchTrainer(
        _worker,
        train_loop_config=dict(spec),
        torch_config=TorchConfig(timeout_s=int(60 * run.measure.wait_minutes + PATIENCE_SECONDS)),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers.max if workers.min == workers.max else (workers.min, workers.max),
            use_gpu=workers.gpus > 0,
            resources_per_worker={"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})}
            | workers.resources,
        ),
        run_config=ray.train.RunConfig(
            name=key,
            storage_path=folder,
            failure_config=ray.train.FailureConfig(
                max_failures=run.checkpoint.max_failures, controller_failure_limit=20
            ),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )


def failure_reason(error: BaseException) -> str:
    """Return the innermost reason of a failed run as one line."""
    inner: Sequence[BaseException] = list(getattr(error, "worker_failures", {}).values())
    text = str(inner[0] if inner else error).strip()
    return text.splitlines()[-1] if text else type(error).__name__
