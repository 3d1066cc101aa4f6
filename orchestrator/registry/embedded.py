"""The registry that needs no server: an SQLite file and a folder of artifacts beside it, in a folder that may move.

Why here: MLflow keeps the address of every artifact whole, so a copied folder would go on reading, and deleting, in the
one it was copied from. Settled here before it is opened, everything in it points beside it. It knows no MLflow.

A folder may also have two paths at once, a container's and its host's: who only reads leaves the addresses as they are
for whoever writes there now, and looks at a copy of the database.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from supernet.errors import InputError, RunError

REMAKE = "`onepath sweep` registers again what is stored"


def artifacts_beside(database: Path) -> Path:
    """Return the folder of the artifacts that a database names."""
    return (database.parent / "artifacts").resolve()


def settle(database: Path, experiment: str, scratch: Path, *, create: bool, remake: str = REMAKE) -> Path:
    """Let every address in a database point into its own folder.

    Args:
        database: The SQLite file.
        experiment: Name of the experiment.
        scratch: Folder for a copy of it.
        create: Whether the caller writes networks to it: then it may be absent as yet, and one that has moved is
            changed. Else the copy is.
        remake: What to do where it is lost.

    Returns:
        The database to read: itself, or the copy.

    Raises:
        InputError: If it is not there.
        RunError: If it is no database, or one that has moved, and that the caller cannot write to.
    """
    if database.is_dir():
        raise InputError(f"{database}: this is a folder; the registry is a file of this name")
    if not database.exists():
        if not create:
            raise InputError(f"{database}: no registry here; {remake}")
        database.parent.mkdir(parents=True, exist_ok=True)
        return database
    new = artifacts_beside(database).as_uri()
    try:
        old = _address_in(database, experiment)
        if old in ("", new):
            return database
        settled = database if create else _copied(database, scratch / database.name)
        _readdress(settled, old, new)
        return settled
    except sqlite3.OperationalError as error:
        raise RunError(
            f"{database}: cannot be opened, or not be changed after its folder has moved ({error}); give rights to it, "
            "or wait for who writes to it"
        ) from error
    except sqlite3.Error as error:
        raise RunError(f"{database}: not readable as a registry ({error}); remove it, then: {remake}") from error


def _open(database: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(database))}?mode={mode}", uri=True, timeout=60)


def _address_in(database: Path, experiment: str) -> str:
    """Return where the experiment's artifacts are said to be; empty for a database without it."""
    with closing(_open(database, "ro")) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return ""
        row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
    return "" if row is None else str(row[0])


def _copied(database: Path, copy: Path) -> Path:
    """Copy a database, whole also while it is written to."""
    with closing(_open(database, "ro")) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def _readdress(database: Path, old: str, new: str) -> None:
    """Let every text that begins with the old address begin with the new one."""
    with closing(_open(database, "rw")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                if kind.upper().startswith(("VARCHAR", "TEXT")):
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '
                        f'WHERE "{column}" = ? OR substr("{column}", 1, ?) = ?',
                        (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
        connection.commit()
