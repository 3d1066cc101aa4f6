"""One shard: Parquet of encoded images, labels and digests, written whole and checked when it is read.

Why here: the builder writes it, the reader and the check read it, with the same idea of what is sound. It must not know
splits, order or decoding.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.data.format import Shard
from orchestrator.data.keys import DIGEST_BYTES, image_digest
from orchestrator.data.sources.source import Row, read_bytes
from orchestrator.data.storage import Storage
from supernet.errors import InputError, RunError
from supernet.files import whole

SCHEMA = pa.schema([("image", pa.binary()), ("label", pa.int32()), ("digest", pa.binary(DIGEST_BYTES))])
Labels = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Task:
    """A shard to be written: its file, and per row group where the images lie and their digests."""

    file: Path
    groups: Sequence[tuple[list[Row], list[bytes]]]


@dataclass(frozen=True)
class Group:
    """A row group as read: encoded images, labels and digests, and what to call it in an error."""

    encoded: list[bytes]
    labels: Labels
    digests: list[bytes]
    origin: str

    def image(self, row: int) -> bytes:
        """Return an encoded image.

        Raises:
            RunError: If it is not the one that was written.
        """
        encoded = self.encoded[row]
        if not encoded:
            raise RunError(f"{self.place(row)}: no image, 0 bytes; build the data set again")
        if image_digest(encoded) != self.digests[row]:
            raise RunError(f"{self.place(row)}: the image was changed or damaged (its digest differs); {REMEDY}")
        return encoded

    def place(self, row: int) -> str:
        """Return what to call a row."""
        return f"{self.origin}, row {row}"


REMEDY = "restore the file, or build the data set again"


def group_digest(labels: Sequence[int], digests: Sequence[bytes]) -> str:
    """Return the digest of a row group: of its labels and of its images' digests."""
    return hashlib.sha256(np.asarray(labels, "<i4").tobytes() + b"".join(digests)).hexdigest()[:32]


def write_shard(task: Task) -> None:
    """Write a shard, one row group in memory at a time; one that is there already is kept.

    Raises:
        RunError: If an image is not the one that was looked at.
    """
    if task.file.exists():
        return
    try:
        with (
            whole(task.file) as part,
            pq.ParquetWriter(part, SCHEMA, compression="none", use_dictionary=False) as writer,
        ):
            for rows, digests in task.groups:
                images = [_again(row, digest) for row, digest in zip(rows, digests, strict=True)]
                columns = {"image": images, "label": [row.label for row in rows], "digest": digests}
                writer.write_table(pa.table(columns, schema=SCHEMA))
    except OSError as error:
        raise RunError(
            f"{task.file}: cannot be written ({error.strerror or error}); free space or give rights"
        ) from error


def _again(row: Row, digest: bytes) -> bytes:
    try:
        encoded = read_bytes(row)
    except InputError as error:
        raise RunError(f"{error} (it was whole when it was looked at)") from None
    if image_digest(encoded) != digest:
        raise RunError(f"{row.file}: changed while the data set was built; run the command again")
    return encoded


def read_group(root: Storage, shard: Shard, number: int, num_classes: int) -> Group:
    """Read a row group and check it against the manifest; images are checked when they are asked for.

    Raises:
        RunError: If the file is missing, damaged or another one, naming the shard and the row where there is one.
    """
    path = f"{root.uri}/{shard.file}"
    place = f"{path}, row group {number}"
    try:
        with root.open(shard.file) as opened:
            file = pq.ParquetFile(opened)
            if file.schema_arrow.remove_metadata() != SCHEMA:
                raise RunError(f"{path}: columns {_columns(file.schema_arrow)}, not {_columns(SCHEMA)}; {REMEDY}")
            if file.num_row_groups != len(shard.rows):
                raise RunError(f"{path}: {file.num_row_groups} row groups, not {len(shard.rows)}; {REMEDY}")
            table = file.read_row_group(number, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunError(f"{place}: cannot be read ({error}); {REMEDY}") from None
    if table.num_rows != shard.rows[number]:
        raise RunError(f"{place}: {table.num_rows} rows, not {shard.rows[number]}; {REMEDY}")
    for name in SCHEMA.names:
        if table[name].null_count:
            raise RunError(f"{place}: column {name!r} has empty values; {REMEDY}")
    labels, digests = table["label"].to_numpy().astype(np.int64), table["digest"].to_pylist()
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        row = int(wrong[0])
        raise RunError(f"{place}, row {row}: label {labels[row]} is none of the {num_classes} classes; {REMEDY}")
    if group_digest(labels.tolist(), digests) != shard.digests[number]:
        raise RunError(f"{place}: labels or images were changed or damaged (the digest differs); {REMEDY}")
    return Group(table["image"].to_pylist(), labels, digests, place)


def faults(root: Storage, shard: Shard, num_classes: int) -> Iterator[str]:
    """Yield everything that is wrong with a shard."""
    for number in range(len(shard.rows)):
        try:
            group = read_group(root, shard, number, num_classes)
        except RunError as error:
            yield str(error)
            continue
        for row in range(len(group.encoded)):
            try:
                group.image(row)
            except RunError as error:
                yield str(error)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
