"""Which images a sweep goes on: noted, and no others once anything of it has begun."""

import shutil
from pathlib import Path

import pytest

from orchestrator.data.build import build
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.images import require_same_images
from orchestrator.plan.trials import IMAGES_FILE, RESULT_FILE, STARTS_FOLDER, WARMUP_FILE, Job, plan_trials
from supernet.errors import InputError
from supernet.presets import read_preset


@pytest.fixture
def job(tmp_path: Path) -> Job:
    build("digits", tmp_path / "shards", seed=0)
    definition, place = read_preset("runs", "quickstart")
    run = check_run({**definition, "storage": str(tmp_path / "runs")}, place)
    return Job(resolved(run), str(tmp_path / "shards"))


def rebuild(job: Job, **settings: float) -> str:
    """Build the shards anew at the same place; return the short fingerprint."""
    shutil.rmtree(job.data_root)
    return build("digits", job.data_root, **settings).fingerprint[:8]


BEGINNINGS = {
    "warm-up started": lambda job: job.store.child(STARTS_FOLDER).write_json("warmup.json", {}),
    "warmed up": lambda job: job.store.write(WARMUP_FILE, b""),
    "a trial": lambda job: job.trial_store(plan_trials(job.run)[0]).write_json(RESULT_FILE, {}),
}


@pytest.mark.parametrize("begin", BEGINNINGS.values(), ids=BEGINNINGS)
def test_what_has_begun_keeps_its_images(job: Job, begin) -> None:
    """Said before: nothing; the rest was searched, trained and judged on another split than what was there."""
    require_same_images(job)
    other = rebuild(job, seed=1)
    require_same_images(job)  # nothing has begun
    begin(job)
    require_same_images(job)
    now = rebuild(job, test_fraction=0.2)
    with pytest.raises(InputError) as caught:
        require_same_images(job)
    for part in (f"{job.data_root}: ", now, other, "--name", "Bring those back"):
        assert part in str(caught.value)
    assert rebuild(job, seed=1) == other
    require_same_images(job)


def test_a_sweep_that_has_no_note_yet_gets_one(job: Job) -> None:
    job.store.write(WARMUP_FILE, b"")
    require_same_images(job)
    rebuild(job, seed=1)
    with pytest.raises(InputError):
        require_same_images(job)


def test_a_damaged_note_is_named(job: Job) -> None:
    job.store.write(WARMUP_FILE, b"")
    job.store.write(IMAGES_FILE, b"{")
    with pytest.raises(InputError, match=r"quickstart/images\.json.*; remove it if"):
        require_same_images(job)
