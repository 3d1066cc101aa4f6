"""Where a data set grows until it is complete: a folder beside its place, or one of this machine for an object store.

Why here: the builder writes into a folder, whoever reads it later from wherever; a build that is killed leaves no data
set, only what the next one continues from. It must not know what is written.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pyarrow import fs

from orchestrator.data.storage import Storage
from supernet.errors import InputError, RunError

LOCK = "lock"


@contextlib.contextmanager
def growing(store: Storage) -> Iterator[Path]:
    """Give the folder to write into, with what an earlier build left there, once no other process builds there.

    Raises:
        InputError: If no folder can be made.
    """
    folder = _folder(store)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"{store.uri}: cannot be made ({error.strerror}); choose another place") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    except OSError as error:
        raise RunError(f"{store.uri}: cannot be written ({error}); free space or give rights") from error
    finally:
        os.close(handle)


def place(folder: Path, store: Storage, last: str) -> None:
    """Let the files of the folder appear in the store: at once, or in an object store with `last` after all others."""
    if store.is_local:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(store.root)
        os.replace(folder, store.root)
        return
    local = fs.LocalFileSystem()
    for file in sorted(folder.iterdir(), key=lambda file: (file.name == last, file.name)):
        fs.copy_files(
            str(file), f"{store.root}/{file.name}", source_filesystem=local, destination_filesystem=store.filesystem
        )


def _folder(store: Storage) -> Path:
    if store.is_local:
        out = Path(store.root)
        return out.with_name(f".{out.name}.building")
    name = hashlib.sha256(store.uri.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"onepath-building-{os.getuid()}-{name}"
