"""Files of a sweep on a shared path or an object store, given once as one URI.

Why here: whatever must outlive a process is written here, whole or not at all, so that a restart can trust
what it finds. Knows no sweep, no Ray and no MLflow.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from supernet import files
from supernet.errors import InputError, RunError
from supernet.plain import parse_json


class Storage:
    """A folder at a URI: a local or shared path, `s3://...`, `gs://...`.

    Args:
        uri: Where. A plain path is made absolute; options of an object store follow a question mark, as in
            `s3://bucket/folder?endpoint_override=...`.

    Raises:
        InputError: If the URI's scheme is not known.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        try:
            self.filesystem, self.root = fs.FileSystem.from_uri(self.uri)
        except (OSError, ValueError) as error:
            raise InputError(
                f"storage {uri!r}: {error}; give a path, s3://bucket/folder or gs://bucket/folder"
            ) from error
        if self.is_local:  # `file:///data` is a path to whoever makes another one of it
            self.uri = self.root

    @property
    def is_local(self) -> bool:
        """Whether this is a path of this machine (or mounted on it)."""
        return bool(self.filesystem.type_name == "local")

    def child(self, *parts: str) -> "Storage":
        """Return the folder below this one."""
        if self.is_local:
            return Storage("/".join([self.uri.rstrip("/"), *parts]))
        place, mark, query = self.uri.partition("?")  # an object store's options
        return Storage("/".join([place.rstrip("/"), *parts]) + mark + query)

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Whether a file is there, complete."""
        info = self.filesystem.get_file_info(self._path(name))
        return bool(info.type == fs.FileType.File)

    def newest(self, names: Iterable[str]) -> int:
        """Return when the last written of some files was, in nanoseconds; 0 where none is there."""
        infos = self.filesystem.get_file_info([self._path(name) for name in names])
        return max((info.mtime_ns for info in infos if info.type == fs.FileType.File), default=0)

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        with self.filesystem.open_input_stream(self._path(name)) as stream:
            content: bytes = stream.read()
        return content

    def open(self, name: str) -> pa.NativeFile:
        """Open a file to read parts of it."""
        return self.filesystem.open_input_file(self._path(name))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            RunError: If it cannot be written.
        """
        write_whole(self.filesystem, self._path(name), content)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.exists(name):
            self.filesystem.delete_file(self._path(name))

    def read_json(self, name: str) -> dict[str, Any]:
        """Return a file's content as a mapping.

        Raises:
            RunError: If it is damaged, naming it.
        """
        remedy = "the file is damaged; remove it, and the command that wrote it writes it again"
        try:
            loaded = parse_json(self.read(name), self._path(name))
        except InputError as error:
            raise RunError(f"{error}: {remedy}") from error
        if not isinstance(loaded, dict):
            raise RunError(f"{self._path(name)}: not a mapping: {remedy}")
        return loaded

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a mapping as JSON, whole or not at all."""
        self.write(name, (json.dumps(content, indent=1) + "\n").encode())

    def names(self) -> list[str]:
        """Return the names of the folders and files directly below; what a killed writer left of one is none."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.root, allow_not_found=True))
        return sorted(info.base_name for info in found if files.MARK not in info.base_name)

    def fetch(self, name: str, folder: Path) -> Path:
        """Return a local path of a file: the file itself where it is local, else a copy in `folder`."""
        if self.is_local:
            return Path(self._path(name))
        target = folder / name.rsplit("/", 1)[-1]
        target.write_bytes(self.read(name))
        return target


def write_whole(filesystem: fs.FileSystem, path: str, content: bytes | memoryview) -> None:
    """Write a file of any file system so that a reader finds all of it or what was there before.

    Raises:
        RunError: If it cannot be written: no rights, no space, a file where a folder is wanted.
    """
    try:
        if filesystem.type_name == "local":
            files.write_whole(Path(path), content)
            return
        filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
        with filesystem.open_output_stream(path) as stream:  # an object appears when its upload is complete
            stream.write(content)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error}); free space or give rights") from error


def require_space(store: Storage, num_bytes: int) -> None:
    """Check that what is about to be written fits; an object store has room for everything.

    Raises:
        RunError: If less than `num_bytes` is free where the storage is, or will be.
    """
    if not store.is_local:
        return
    folder = Path(store.root)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise RunError(
            f"{store.uri}: {free / 2**20:,.0f} MiB are free and about {num_bytes / 2**20:,.0f} MiB are needed; "
            "free some, or choose another --storage"
        )
