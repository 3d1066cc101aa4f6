"""What every data source is brought to: labelled images in parts. It must not know where they come from.

Why here: the builder is one piece of code for all kinds of source, so each opens as the same shape.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from supernet.errors import InputError


@dataclass(frozen=True)
class Part:
    """Images of a source that belong together: all of them, or those of a split the source brings.

    Attributes:
        labels: One label per image.
        encoded: Encoded bytes of image i.
        origin: What to call image i in an error.
    """

    labels: Sequence[int]
    encoded: Callable[[int], bytes]
    origin: Callable[[int], str]


@dataclass(frozen=True)
class Source:
    """A set of labelled images.

    Attributes:
        name: As the user wrote it.
        class_names: One per label.
        main: What train and validation (and test, if `test` is None) are cut from.
        test: The test split if the source brings one.
        listing: Cheap fingerprint; the same listing means the same content.
    """

    name: str
    class_names: tuple[str, ...]
    main: Part
    test: Part | None
    listing: str


def read_file(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); repair or remove the file") from None


def listing(root: Path) -> str:
    """Hash of relative path, size and time of every file under a folder."""
    digest = hashlib.sha256()
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            state = os.stat(path)
            digest.update(f"{os.path.relpath(path, root)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
