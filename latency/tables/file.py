"""A latency table as a Parquet file: written whole with a checksum, checked when read. Measures nothing.

A table carries the fingerprint of what it was measured on, and `load_table` refuses one of another.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path as FilePath
from typing import Any

from latency.errors import ForeignTable, NotRunnable
from latency.measuring.job import why_not
from latency.tables.calibrate import Calibration
from latency.tables.fingerprint import definition_hash, differences, fingerprint
from latency.tables.table import Figure, LatencyTable, Row, rebuild_command
from latency.target import Target, read_target
from supernet.errors import InputError
from supernet.files import whole
from supernet.plain import check_name, read, read_json, to_json, to_plain
from supernet.space import Space, read_space

SCHEMA_VERSION = 4

METADATA = b"onepath_latency"
"""Key of what stands in the Parquet file beside the rows."""


def table_path(folder: FilePath | str, space: Space, target: Target) -> FilePath:
    """Return where the table of a space on a target is kept: in the folder itself, whatever their names are.

    Spaces and targets that share a name but not what decides latencies have tables beside each other: a space has as
    many classes as the images of its sweep.

    Raises:
        InputError: If a name cannot be part of a file's.
    """
    names = check_name(space.name, "the space's name"), check_name(target.name, "the target's name")
    return FilePath(folder) / f"{'@'.join(names)}-{definition_hash(space, target)}.parquet"


def require_folder(folder: FilePath | str) -> None:
    """Make the folder of tables, before minutes are spent on what is to be written there.

    Raises:
        InputError: If it cannot be made or written to.
    """
    try:
        FilePath(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: no folder for latency tables ({error.strerror}); give another (--folder)"
        ) from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: latency tables cannot be written there; give another folder (--folder)")


@dataclass(frozen=True)
class Stored:
    """What stands beside the rows in a file.

    Attributes:
        space: As `Space.to_dict` gives it.
        target: As `Target.to_dict` gives it.
    """

    schema_version: int
    unit: str
    space: dict[str, Any]
    target: dict[str, Any]
    calibration: Calibration
    fingerprint: dict[str, Any]
    sentinels: dict[str, Figure]
    info: dict[str, Any]


@dataclass(frozen=True)
class Sealed:
    """The metadata of a file: its content, and a checksum of it and the rows."""

    stored: dict[str, Any]
    checksum: str


def write_table(table: LatencyTable, folder: FilePath | str) -> FilePath:
    """Write a table whole, or not at all."""
    import pyarrow
    import pyarrow.parquet

    stored = Stored(
        SCHEMA_VERSION,
        "ms",
        table.space.to_dict(),
        table.target.to_dict(),
        table.calibration,
        dict(table.fingerprint),
        dict(table.sentinels),
        dict(table.info),
    )
    rows, plain = [asdict(row) for row in table.rows], to_plain(stored)
    metadata = {METADATA: to_json(Sealed(plain, _checksum(plain, rows)))}
    path = table_path(folder, table.space, table.target)
    with whole(path) as part:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows).replace_schema_metadata(metadata), part)
    return path


def _checksum(stored: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a hash of all that a table says: of values, so the layout of the file is free.

    A damaged file may hold what JSON has nothing for, such as bytes or dates; their hash is just another one.
    """
    return hashlib.sha256(json.dumps([stored, rows], sort_keys=True, default=repr).encode()).hexdigest()


def read_table(path: FilePath | str) -> LatencyTable:
    """Read a table as it stands, wherever it was measured.

    Raises:
        InputError: If it does not exist, is no latency table, has another schema version, or is damaged: not what was
            written, or with values that cannot be.
    """
    if not FilePath(path).is_file():
        raise InputError(f"{path}: no such latency table")
    metadata, rows = _read_parquet(path)
    sealed: Sealed = read_json(Sealed, metadata, f"{path}: metadata")
    version = sealed.stored.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(f"{path}: schema version {version}, this release reads {SCHEMA_VERSION}; build it anew")
    if sealed.checksum != _checksum(sealed.stored, rows):
        raise InputError(f"{path}: damaged, its content is not what was written (checksum); build it anew")
    stored: Stored = read(Stored, sealed.stored, f"{path}: metadata")
    return LatencyTable(
        space=read_space(stored.space, f"{path}: space"),
        target=read_target(stored.target, f"{path}: target"),
        rows=read(tuple[Row, ...], rows, f"{path}: rows"),
        calibration=stored.calibration,
        fingerprint=stored.fingerprint,
        sentinels=stored.sentinels,
        info=stored.info,
    )


def _read_parquet(path: FilePath | str) -> tuple[bytes, list[dict[str, Any]]]:
    """Return the metadata and the rows of a file, unread."""
    import pyarrow
    import pyarrow.parquet

    try:
        content = pyarrow.parquet.read_table(path)
        return (content.schema.metadata or {})[METADATA], content.to_pylist()
    except (pyarrow.ArrowException, OSError, KeyError, ValueError) as error:  # a damaged file runs into any of these
        raise InputError(f"{path}: not a latency table, or damaged ({error!r}); build it anew") from error


def stored_table(folder: FilePath | str, space: Space, target: Target) -> LatencyTable:
    """Read the table kept of a space on a target, wherever it was measured.

    Raises:
        InputError: If there is none, or it is damaged, with the command that builds it anew.
    """
    if not target.measured:
        raise InputError(f"target {target.name}: its costs are counted or published; no table of it is measured")
    path = table_path(folder, space, target)
    if not path.is_file():
        raise InputError(
            f"{path}: no latency table of {space.name} on {target.name} yet; {rebuild_command(space, target, folder)}"
        )
    try:
        return read_table(path)
    except InputError as error:
        raise InputError(f"{error}: {rebuild_command(space, target, folder)}") from error


def load_table(folder: FilePath | str, space: Space, target: Target) -> LatencyTable:
    """Load the table of a space on a target, for use on this machine.

    Raises:
        InputError: If there is none.
        NotRunnable: If this machine cannot run the target: then it is not the one that the table was measured on.
        ForeignTable: If it was measured on something else, naming the differences and the command that rebuilds it.
    """
    table, reason = stored_table(folder, space, target), why_not(target)
    if reason:
        raise NotRunnable(
            f"{table_path(folder, space, target)} counts only on what it was measured on: use it there, this machine "
            f"cannot run target {target.name}: {reason}"
        )
    unlike = differences(table.fingerprint, fingerprint(space, target))
    if unlike:
        raise ForeignTable(
            f"{table_path(folder, space, target)} was measured on something else ({'; '.join(unlike)}); rebuild it: "
            f"{rebuild_command(space, target, folder)}"
        )
    return table
