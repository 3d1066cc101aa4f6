"""Where a data set appears when it is complete: a folder, or an object store.

Why here: the builder writes into a folder of this machine, whoever reads it later from wherever; a build that is killed
leaves no data set. It must not know what is written.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from orchestrator.data.storage import Storage


@contextmanager
def placed(store: Storage, last: str) -> Iterator[Path]:
    """Give a fresh folder to write into; at the end of the block its files are what the store holds.

    Args:
        store: Where they shall appear: a folder all at once, an object store with the file `last` after all others.
        last: Name of the file that says that the others are there.
    """
    if not store.is_local:
        with tempfile.TemporaryDirectory(prefix="onepath-data-") as name:
            folder = Path(name)
            yield folder
            _upload(folder, store, last)
        return
    out = Path(store.root)
    folder = _beside(out)
    try:
        yield folder
        os.replace(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _upload(folder: Path, store: Storage, last: str) -> None:
    """Copy the files of a folder to an object store, one of them after all others."""
    local = fs.LocalFileSystem()
    for file in sorted(folder.iterdir(), key=lambda file: (file.name == last, file.name)):
        fs.copy_files(
            str(file), f"{store.root}/{file.name}", source_filesystem=local, destination_filesystem=store.filesystem
        )


def _beside(out: Path) -> Path:
    """Make the folder that is written into; its name tells whose it is, and those of dead builders are removed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.building-{os.uname().nodename}-"
    for left in out.parent.glob(f"{prefix}*"):
        try:
            os.kill(int(left.name.removeprefix(prefix)), 0)  # signal 0 only asks whether the process lives
        except (ProcessLookupError, ValueError):
            shutil.rmtree(left, ignore_errors=True)
        except PermissionError:
            continue
    folder = out.parent / f"{prefix}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
