"""On which images a sweep goes: noted when it starts, so that figures of two data sets do not meet on one front.

Why here: shards can be built anew at the same place, and nothing in the configuration tells. It must not know how
images are read.
"""

from orchestrator.data.format import read_manifest
from orchestrator.data.storage import Storage
from orchestrator.plan.continued import has_begun
from orchestrator.plan.trials import IMAGES_FILE, Job
from supernet.errors import InputError
from supernet.plain import read_sealed, to_sealed

SHOWN = 8
"""Of a fingerprint's digits: enough to tell two apart."""


def require_same_images(job: Job) -> None:
    """Note the fingerprint of the sweep's data set, or compare it with the one that the sweep has begun with.

    Only whoever holds the sweep may call this, before anything is made of the images. A job without images, for which
    nothing is left but to register, has none to compare.

    Raises:
        InputError: If it has begun with another one, with both fingerprints and the remedies.
    """
    if not job.data_root:
        return
    now = read_manifest(Storage(job.data_root)).fingerprint
    if has_begun(job) and job.store.exists(IMAGES_FILE):
        then = _noted(job)
        if now != then:
            raise InputError(
                f"{job.data_root}: holds data set {now[:SHOWN]}, and sweep {job.run.name!r} has begun with "
                f"{then[:SHOWN]}: other images, or split otherwise. Bring those back, or use another name (--name)"
            )
        return
    job.store.write(IMAGES_FILE, to_sealed(now).encode())


def _noted(job: Job) -> str:
    place = f"{job.store.uri}/{IMAGES_FILE}"
    try:
        noted: str = read_sealed(str, job.store.read(IMAGES_FILE), place)
    except InputError as error:
        raise InputError(f"{error}; remove it if the sweep has always had the images of now") from error
    return noted
