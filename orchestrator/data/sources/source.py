"""What every data source is brought to: labelled rows in parts, and how to read one. It must not know where from.

Why here: the builder is one piece of code for all kinds of source. A new kind is one function that returns a `Source`,
and one line in the registry.
"""

import hashlib
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, NamedTuple

from orchestrator.data.pixels import MAX_MIB
from supernet.errors import InputError, RunError, nearest

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

RECORD = struct.Struct("<qiqqq")
"""Where the path begins, its length, and the numbers of a `Row`."""
SMALL = 2**20
"""Bytes that are kept in memory."""
NAMES_FILE = "classes.txt"
MANY = 1000
"""Numbers of classes up to this, and a hundred for each that is there, may have gaps."""


class Row(NamedTuple):
    """Where one encoded image lies.

    Attributes:
        file: Path of a file.
        at: First byte, or what the source's own reader takes it for.
        size: Bytes, 0 for all of the file, or what the source's own reader takes it for.
        label: Index of its class.
    """

    file: str
    at: int
    size: int
    label: int


class Rows:
    """Many rows in hardly any memory: they lie in temporary files, the path of their file once per run of rows.

    Attributes:
        least: The lowest label, 0 without rows.
        most: The highest.

    Raises:
        RunError: If there is no room for temporary files.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._records, self._paths = SpooledTemporaryFile(SMALL), SpooledTemporaryFile(SMALL)  # noqa: SIM115
        self._last, self._count, self.least, self.most = (0, ""), 0, 0, 0
        self._end, self._path, self._length = 0, "", 0
        for row in rows:
            self._add(*row)

    def _add(self, file: str, at: int, size: int, label: int) -> None:
        try:
            if file != self._path:
                self._end += self._length
                self._path, self._length = file, self._paths.write(os.fsencode(file))
            self._records.write(RECORD.pack(self._end, self._length, at, size, label))
        except struct.error:
            raise InputError(f"{shown(file)}: a label of {label}; 64 bits hold those that are allowed") from None
        except OSError as error:
            raise RunError(
                f"{gettempdir()}: no temporary file of the images' places can be written ({error.strerror}); free "
                "space, or set TMPDIR"
            ) from error
        self.least, self.most = min(label, self.least), max(label, self.most)
        self._count += 1

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count

    def __iter__(self) -> Iterator[Row]:
        """Yield all of them."""
        return (self[i] for i in range(self._count))

    def __getitem__(self, i: int) -> Row:
        """Return one of them."""
        self._records.seek(RECORD.size * i)
        start, length, at, size, label = RECORD.unpack(self._records.read(RECORD.size))
        if self._last[0] != start or not self._last[1]:
            self._paths.seek(start)
            self._last = start, os.fsdecode(self._paths.read(length))
        return Row(self._last[1], at, size, label)


def read_bytes(row: Row) -> bytes:
    """Read an image that lies in a file as it is.

    Raises:
        InputError: If it cannot be read, is no regular file (a pipe, a device), is cut short, or is too large.
    """
    try:
        handle = os.open(row.file, os.O_RDONLY | os.O_NONBLOCK)
        try:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise InputError(f"{shown(row.file)}: no regular file; remove it")
            size = row.size or state.st_size
            if size > MAX_MIB * 2**20:
                raise InputError(
                    f"{shown(row.file)}: {size / 2**20:,.0f} MiB, at most {MAX_MIB} are read; make it smaller"
                )
            encoded = os.pread(handle, size, row.at)
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(f"{shown(row.file)}: cannot be read ({error.strerror}); repair or remove it") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{row.file!r}: no path ({error})") from None
    if len(encoded) != size:
        raise InputError(f"{shown(row.file)}: cut short, {len(encoded)} of {size} bytes at {row.at}; repair it")
    return encoded


def file_name(row: Row) -> str:
    """Return what to call an image that is a file."""
    return shown(row.file)


@dataclass(frozen=True)
class Source:
    """A set of labelled images.

    Attributes:
        name: As the user wrote it.
        class_names: One per label.
        parts: Rows by split: `train`, and `validation` and `test` if the source brings them.
        listing: Cheap fingerprint; the same listing means the same content.
        read: Return the encoded image of a row; raises `InputError` for one that is corrupt. Picklable.
        origin: What to call the image of a row in an error. Picklable.
    """

    name: str
    class_names: tuple[str, ...]
    parts: dict[str, Rows]
    listing: str
    read: Callable[[Row], bytes] = read_bytes
    origin: Callable[[Row], str] = file_name


def make_source(
    name: str,
    class_names: Sequence[str],
    parts: dict[str, Rows],
    listing: str,
    *,
    read: Callable[[Row], bytes] = read_bytes,
    origin: Callable[[Row], str] = file_name,
) -> Source:
    """Return a `Source`; of two held-out splits, a single one is the test.

    Raises:
        InputError: If there is nothing to train on, there are fewer than two classes, or a label has no name.
    """
    parts = {split: rows for split, rows in parts.items() if len(rows)}
    if "train" not in parts:
        raise InputError(f"{name}: no images of a train split; found {', '.join(parts) or 'none'}")
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
    if len(class_names) < 2:
        raise InputError(
            f"{name}: a single class ({', '.join(class_names)}), which every network would get right; two or more are "
            "wanted: check the labels, or where the folders of the classes lie"
        )
    for rows in parts.values():
        if rows.least < 0 or rows.most >= len(class_names):
            row = next(row for row in rows if not 0 <= row.label < len(class_names))
            raise InputError(f"{origin(row)}: label {row.label} is none of the {len(class_names)} classes")
    return Source(name, tuple(class_names), parts, listing, read, origin)


def label_names(found: Iterable[Any], given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the class names: as given, else the found labels themselves, numbers from 0 on or words in order."""
    if given:
        return tuple(given)
    distinct = set(found)
    if not all(is_number(label) for label in distinct):
        return tuple(sorted(map(str, distinct)))
    most = max((int(label) for label in distinct), default=-1)
    if most > MANY + 100 * len(distinct):
        raise InputError(
            f"a label of {most}, where there are {len(distinct)}: numbers are indices of classes; number the "
            "classes from 0 on, or name them in words or in classes.txt"
        )
    return tuple(map(str, range(1 + most)))


def label_index(label: Any, names: dict[str, int], origin: str) -> int:
    """Return a label, a number or a name, as a number; numbers are checked later.

    Raises:
        InputError: If it is no known name.
    """
    if isinstance(label, str) and label in names:
        return names[label]
    if is_number(label):
        return int(label)
    raise InputError(f"{origin}: label {label!r} is none of the {len(names)} classes{nearest(str(label), names)}")


def is_number(label: Any) -> bool:
    """Whether a label is a whole number, or text of one."""
    return isinstance(label, int) or (isinstance(label, str) and label.isascii() and label.isdigit())


def given_names(folder: Path) -> list[str] | None:
    """Return the lines of `classes.txt`, one class name each, if the folder holds it."""
    file = folder / NAMES_FILE
    try:
        return file.read_text(encoding="utf-8").splitlines() if file.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from None


def walk(root: Path) -> Iterator[str]:
    """Yield every file under a folder in a fixed order; links to folders are followed, but for those that lead back."""
    for folder, subfolders, names in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        subfolders[:] = sorted(name for name in subfolders if not _leads_back(os.path.join(folder, name), here))
        yield from (os.path.join(folder, name) for name in sorted(names))


def _leads_back(path: str, folder: str) -> bool:
    target = os.path.realpath(path)
    return os.path.islink(path) and os.path.commonpath([target, folder]) == target


def listing(root: Path, files: Iterable[str] | None = None) -> str:
    """Return a hash of relative path, size and time of files, by default of every one under a folder."""
    digest = hashlib.sha256()
    for path in walk(root) if files is None else files:
        digest.update(os.fsencode(os.path.relpath(path, root)))
        try:
            state = os.stat(path)
            digest.update(f"\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
        except (OSError, ValueError):  # a link that leads nowhere, a path that is none
            digest.update(b"\0lost\n")
    return digest.hexdigest()


def shown(path: str | Path) -> str:
    """Return a path as text that can be printed, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def split_of(name: str) -> str | None:
    """Return the split that a file's name speaks of: `train-00000-of-00004.parquet`, `imagenet-val-001.tar`."""
    words = "".join(c if c.isalpha() else " " for c in name.lower()).split()
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def by_split(files: Iterable[Path]) -> dict[str, list[Path]]:
    """Return files by the split of their names; if no name speaks of one, all are `train`."""
    found: dict[str, list[Path]] = {}
    for file in sorted(files):
        found.setdefault(split_of(file.name) or "train", []).append(file)
    return found
