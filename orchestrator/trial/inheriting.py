"""The supernet that a warm-up begins with: fresh weights, or those of an earlier sweep of the same space.

Why here: reading another sweep's file. It must not know how a warm-up runs; whether it fits stands in `plan.inherited`.
"""

import io

import torch

from orchestrator.data.storage import Storage
from orchestrator.plan.inherited import inherited
from orchestrator.plan.trials import WARMUP_FILE, Job
from orchestrator.trial.records import read_beside
from supernet.errors import InputError
from supernet.network import Supernet
from supernet.space import Space


def first_supernet(job: Job) -> Supernet:
    """Return the supernet as a sweep's warm-up begins; with other classes than before, its classifier is fresh.

    Raises:
        InputError: If the earlier sweep is not there any more, or does not fit.
        RunError: If its weights are damaged, naming the file.
    """
    run = job.run
    supernet = Supernet(job.space, seed=run.seed, zero_init_residual=run.warmup.sharing.zero_init_residual)
    source = inherited(run)
    if source is not None:
        weights = stored_weights(source.store)
        if source.space.num_classes != job.space.num_classes:
            if run.mode == "shared" and not run.warmup.num_steps:
                raise InputError(
                    f"warmup.num_steps: 0: {source.store.uri} tells {source.space.num_classes} classes apart, these "
                    f"images have {job.space.num_classes}: the classifier begins afresh, and in `shared` mode nothing "
                    "else trains it; give it steps"
                )
            classifiers = _classifiers(job.space)
            weights |= {name: new for name, new in supernet.state_dict().items() if name.startswith(classifiers)}
        supernet.load_state_dict(weights)
    return supernet


def stored_weights(store: Storage) -> dict[str, torch.Tensor]:
    """Return the weights of the warmed-up supernet that a sweep's folder keeps.

    Raises:
        RunError: If they are not what was stored, naming the file.
    """
    content = io.BytesIO(read_beside(store, WARMUP_FILE))
    found: dict[str, torch.Tensor] = torch.load(content, weights_only=True, map_location="cpu")
    return found


def _classifiers(space: Space) -> tuple[str, ...]:
    """Return how the names of the weights begin that depend on the number of classes."""
    return tuple(f"layers.{i}." for i, layer in enumerate(space.layers) if layer.candidates[0].name == "classifier")
