"""The pool of judged paths that all trials on one frozen supernet derive from: filled once, kept as Parquet.

Why here: what is kept of it and where. How paths are judged and what is made of them stands in `supernet`.
"""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from orchestrator.data.batches import ImageData
from orchestrator.data.storage import Storage
from orchestrator.plan.news import SHARED_KEY, News
from orchestrator.plan.trials import POOL_FILE, Job
from orchestrator.trial.place import Place
from orchestrator.trial.records import damaged, is_intact, read_beside, write_beside
from supernet.judging import PathJudge, RankedJudge
from supernet.network import Supernet
from supernet.plain import read
from supernet.pool import Judged, pool_paths
from supernet.space import Path

PART = 50
"""Paths judged between two writes of the file: what a restart may have to judge again."""


def judge_of(job: Job, key: str, supernet: Supernet, data: ImageData, place: Place) -> RankedJudge:
    """Return what judges paths, the same for the pool and for every trial; progress goes out under `key`."""
    settings, batch_size = job.run.derive, job.run.search.batch_size
    num_images = job.run.own_batches * batch_size
    num_images += min(settings.max_validation_images, data.num_examples("validation"))
    judge = PathJudge(
        supernet,
        data,
        batch_size=batch_size,
        recalibration_batches=job.run.own_batches,
        limit=settings.max_validation_images,
        tell=lambda done: place.post(News(key, "judge paths", done, num_images)) if place.sync.rank == 0 else None,
    )
    return RankedJudge(judge, place.sync)


def fill_pool(job: Job, supernet: Supernet, data: ImageData, place: Place) -> None:
    """Judge the pool's paths on all ranks and store them, going on from what is stored."""
    judge = judge_of(job, SHARED_KEY, supernet, data, place)
    if place.sync.rank:
        judge.serve()
        return
    known = list(read_pool(job.store)) if is_intact(job.store, POOL_FILE) else []
    left = _missing(job, known)
    for first in range(0, len(left), PART):
        known += judge(left[first : first + PART])
        _write(job.store, known)
    judge.stop()


def pool_is_whole(job: Job) -> bool:
    """Whether nothing is left to judge for the sweep's pool, as it is asked for now; true where it has none."""
    return not job.run.fills_pool or not _missing(job, read_pool(job.store) if is_intact(job.store, POOL_FILE) else ())


def whole_pool(job: Job, judge: RankedJudge, alive: Tensor) -> tuple[Judged, ...]:
    """Return the pool that a trial derives from: the sweep's, or where weights are the trial's own, judged here.

    Args:
        job: The sweep.
        judge: Of the trial's supernet.
        alive: Candidates that this supernet still has, bool of shape (num_positions, max_candidates): no path through
            another one can be judged.

    Raises:
        DamagedFile: If the sweep's is; where its file is missing the same paths are judged again.
    """
    if job.run.mode != "shared":
        return tuple(judge(pool_paths(job.space, job.run.derive.pool_size, job.run.seed, alive)))
    known = read_pool(job.store)
    left = [path for path in _missing(job, known) if all(row[choice] for row, choice in zip(alive, path, strict=True))]
    return (*known, *judge(left))


def _missing(job: Job, known: Sequence[Judged]) -> list[Path]:
    wanted = pool_paths(job.space, job.run.derive.pool_size, job.run.seed)
    there = {found.path for found in known}
    return [path for path in wanted if path not in there]


def read_pool(store: Storage) -> tuple[Judged, ...]:
    """Return the judged paths of a sweep's pool, none where there is none.

    Raises:
        DamagedFile: If the file is.
    """
    if not store.exists(POOL_FILE):
        return ()
    content = read_beside(store, POOL_FILE)
    try:
        rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowException as error:
        raise damaged(store, POOL_FILE, str(error)) from error
    pool: tuple[Judged, ...] = read(tuple[Judged, ...], rows, POOL_FILE)
    return pool


def _write(store: Storage, pool: Sequence[Judged]) -> None:
    content = io.BytesIO()
    rows = [{"path": list(found.path), "top1": found.top1, "loss": found.loss} for found in pool]
    pq.write_table(pa.Table.from_pylist(rows), content)
    write_beside(store, POOL_FILE, content.getvalue())
