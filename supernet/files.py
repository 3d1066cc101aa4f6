"""A local file that appears whole or not at all: the one such write of all rooms. It must not know what is written.

Why here: whatever must outlive a process is written this way, in every room, and this is the lowest.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

MARK = ".writing-"


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there becomes `path` when the block ends well.

    A reader finds all of the new content or what was there before, whoever is killed when: the content is on the disk
    before its name is. Temporary files that killed processes of this machine left for the same `path` are removed. The
    rights are those of the process's umask, as for any file, so that a team that sets it shares what is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = f".{path.name}{MARK}{os.uname().nodename}-"
    _sweep(path.parent, mine)
    part = path.with_name(f"{mine}{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all, see `whole`."""
    with whole(path) as part:
        part.write_bytes(content)


def _sweep(folder: Path, mine: str) -> None:
    """Remove what dead processes of this machine left."""
    with os.scandir(folder) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(mine)]
    for file in left:
        if not process_lives(file.rsplit(mine, 1)[1].split("-")[0]):
            with contextlib.suppress(OSError):
                os.unlink(file)


def process_lives(pid: int | str) -> bool:
    """Whether a process of this machine runs under this number."""
    try:
        os.kill(int(pid), 0)  # signal 0 only asks
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some network file systems refuse
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
