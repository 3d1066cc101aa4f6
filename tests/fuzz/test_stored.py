"""Mutated and damaged files that a sweep keeps: results, latency tables, manifests and shards of images.

Each carries a checksum, so what is accepted is what was written; all else names the file and says how it is mended.
"""

import contextlib
import functools
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from latency_cases import made_up_table
from mutations import NONSENSE, Attempt, damaged, mutated, survive
from photos import build_photos

from latency.tables.file import METADATA, read_table, write_table
from orchestrator.data.format import MANIFEST_NAME, Manifest, read_manifest
from orchestrator.data.shards import read_group
from orchestrator.data.storage import Storage
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.stored import Points, read_points, stored_results
from orchestrator.plan.trials import POINTS_FILE, RESULT_FILE, Job, Trial, plan_trials
from supernet.errors import InputError, RunError
from supernet.plain import to_plain, to_sealed
from supernet.presets import read_preset


def damaged_json(content: bytes, rng: random.Random) -> bytes:
    """Return JSON text with nonsense in it, or damaged."""
    return json.dumps(mutated(json.loads(content), rng)).encode() if rng.random() < 0.5 else damaged(content, rng)


@contextlib.contextmanager
def naming(file: Path) -> Iterator[None]:
    """Whatever is refused inside must name the file."""
    try:
        yield
    except (InputError, RunError) as error:
        if str(file) not in str(error):
            raise AssertionError(f"{file} is not named") from error
        raise


CELLS: Sequence[Any] = [cell for cell in NONSENSE if not isinstance(cell, int) or abs(cell) < 2**63]


def damaged_parquet(content: bytes, rng: random.Random) -> bytes:
    """Return a Parquet file damaged, or written anew: a column of other values, gone or renamed; rows gone or twice."""
    if rng.random() < 0.4:
        return damaged(content, rng)
    table = pq.read_table(pa.BufferReader(content))
    number = rng.randrange(table.num_columns)
    name, column = table.column_names[number], table.column(number)
    kind = rng.choice(("drop", "rename", "rows", "twice", "values", "one value", "type"))
    if kind == "drop":
        table = table.drop_columns([name])
    elif kind == "rename":
        table = table.rename_columns([f"{other}s" if other == name else other for other in table.column_names])
    elif kind == "rows":
        table = table.slice(rng.randrange(table.num_rows), rng.randrange(3))
    elif kind == "twice":
        table = pa.concat_tables([table, table.slice(0, 1)])
    elif kind == "values":
        values = [rng.choice((rng.choice(CELLS), b"\xff", None)) for _ in range(2)]
        cells = pa.array([values[0]] * table.num_rows)
        table = table.set_column(number, name, cells)
    elif kind == "one value":
        cells = column.to_pylist()
        cells[rng.randrange(len(cells))] = cells[rng.randrange(len(cells))]
        table = table.set_column(number, name, pa.array(cells, column.type))
    else:
        to = rng.choice((pa.timestamp("ns"), pa.date32(), pa.decimal128(38, 10), pa.binary(), pa.list_(pa.int8())))
        table = table.set_column(number, name, pa.nulls(table.num_rows, to))
    if METADATA in (table.schema.metadata or {}) and rng.random() < 0.3:
        text = damaged_json(table.schema.metadata[METADATA], rng)
        table = table.replace_schema_metadata({METADATA: text})
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(table, sink, row_group_size=max(1, rng.choice((table.num_rows, 3))))
    except pa.ArrowNotImplementedError:  # a column of empty objects, which no Parquet file holds
        return damaged_parquet(content, rng)
    return bytes(sink.getvalue())


@functools.cache
def the_job() -> Job:
    base = read_preset("runs", "quickstart")[0]
    changes = {"targets": ["macs"], "sweep": {"budget_counts": [2e6]}, "storage": tempfile.mkdtemp()}
    return Job(resolved(check_run({**base, **changes}, "fuzz")), "")


def try_result(rng: random.Random, tmp_path: Path) -> None:
    job = the_job()
    (trial,) = plan_trials(job.run)
    result = job.result(trial, cost=1.5e6, budget=2e6, top1=0.9, validation_top1=0.8, num_params=7, architecture="k3")
    job.trial_store(trial).write(RESULT_FILE, damaged_json(to_sealed(result).encode(), rng))
    found = stored_results(job)[trial.key]
    with naming(Path(job.trial_store(trial).uri) / RESULT_FILE):
        if not found.done:
            raise InputError(found.reason)
    assert found == result


def try_points(rng: random.Random, tmp_path: Path) -> None:
    job = Job({**the_job().config, "sweep": {"points": 4}, "storage": str(tmp_path)}, "")
    points = Points(tuple(Trial(f"macs-{n}M", "macs", "count", n * 1e6) for n in (1, 9, 4)), ("macs",))
    job.store.write(POINTS_FILE, damaged_json(to_sealed(points).encode(), rng))
    with naming(Path(job.store.uri) / POINTS_FILE):
        assert read_points(job) == points


@functools.cache
def a_table() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_table(made_up_table(), folder).read_bytes()


def try_table(rng: random.Random, tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    file.write_bytes(damaged_parquet(a_table(), rng))
    with naming(file):
        assert read_table(file) == made_up_table()


@functools.cache
def the_images() -> Path:
    return build_photos(Path(tempfile.mkdtemp()))


def try_manifest(rng: random.Random, tmp_path: Path) -> None:
    whole = (the_images() / MANIFEST_NAME).read_bytes()
    store = Storage(str(tmp_path))
    store.write(MANIFEST_NAME, damaged_json(whole, rng))
    with naming(tmp_path / MANIFEST_NAME):
        found = read_manifest(store)
    wanted = to_plain(read_manifest(Storage(str(the_images()))))
    assert to_plain(found) | {"origin": None} == wanted | {"origin": None}


def content(root: Path, manifest: Manifest) -> list[tuple[bytes, int]]:
    """Return every image and label of a data set, checked as training checks them."""
    groups = [
        read_group(Storage(str(root)), shard, number, manifest.num_classes)
        for shard in manifest.shards
        for number in range(len(shard.rows))
    ]
    return [(group.image(row), int(group.labels[row])) for group in groups for row in range(len(group.encoded))]


def try_shard(rng: random.Random, tmp_path: Path) -> None:
    manifest = read_manifest(Storage(str(the_images())))
    for shard in manifest.shards:
        (tmp_path / shard.file).write_bytes((the_images() / shard.file).read_bytes())
    file, other = (tmp_path / rng.choice(manifest.shards).file for _ in range(2))
    file.write_bytes(other.read_bytes() if rng.random() < 0.1 else damaged_parquet(file.read_bytes(), rng))
    with naming(file):
        assert content(tmp_path, manifest) == content(the_images(), manifest)


@pytest.mark.parametrize("attempt", [try_result, try_points, try_table, try_manifest, try_shard])
def test_a_damaged_file_ends_in_a_clear_error_or_is_what_was_written(attempt: Attempt, tmp_path: Path) -> None:
    survive(attempt, tmp_path)
