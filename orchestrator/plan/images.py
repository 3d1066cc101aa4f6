"""On which images a sweep goes: noted when it starts, so that figures of two data sets do not meet on one front.

Why here: shards can be built anew at the same place, or otherwise than the configuration says, and nothing in it tells.
It must not know how images are read.
"""

from orchestrator.data.format import MANIFEST_NAME, TEST_FRACTION, VALIDATION_FRACTION, Manifest, read_manifest
from orchestrator.data.storage import Storage
from orchestrator.plan.check import converted
from orchestrator.plan.config import RunConfig
from orchestrator.plan.continued import has_begun
from orchestrator.plan.trials import IMAGES_FILE, Job
from supernet.errors import InputError
from supernet.plain import read_sealed, to_sealed

FRACTIONS = {"validation_fraction": VALIDATION_FRACTION, "test_fraction": TEST_FRACTION}
"""Keys under `data` that say how a source is split, with what stands there where nothing was written."""

SHOWN = 8
"""Of a fingerprint's digits: enough to tell two apart."""


def prepared_images(run: RunConfig) -> Manifest | None:
    """Return what is known of a sweep's images where they are prepared: by the user, or for a sweep before.

    Raises:
        InputError: If shards of the user are split otherwise than is asked.
    """
    given = Storage(run.data.source)
    if given.exists(MANIFEST_NAME):
        manifest = read_manifest(given)
        require_own_split(run, manifest)
        return manifest
    made = converted(run)
    return read_manifest(made) if made.exists(MANIFEST_NAME) else None


def require_own_split(run: RunConfig, manifest: Manifest) -> None:
    """Refuse fractions by which the prepared shards that a sweep takes as they are were not split.

    Raises:
        InputError: Naming the key, what the shards have, and the remedies.
    """
    for key, default in FRACTIONS.items():
        asked, found = getattr(run.data, key), getattr(manifest, key)
        if asked not in (default, found):
            have = "a split of their source" if found is None else f"{key} {found}"
            raise InputError(
                f"{run.name}.data.{key}: {asked}; the shards at {run.data.source} were built with {have}, and are "
                "taken as they are: remove this key, or name the images that they were made of as source"
            )


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
