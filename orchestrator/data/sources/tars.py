"""A folder of tar files, as WebDataset lays them out. It must not know how sources are chosen, nor what is made of it.

A sample is the files that share a name up to its first dot: an image (`0001.jpg`) and its label (`0001.cls`, a number
or a name, else `label` in `0001.json`). Without a label file, the class is the name of the image's folder in the tar.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.data.sources.folder import IMAGE_SUFFIXES
from orchestrator.data.sources.source import (
    Row,
    Rows,
    Source,
    by_split,
    file_name,
    given_names,
    label_index,
    label_names,
    listing,
    make_source,
)
from supernet.errors import InputError

MAX_LABEL_BYTES = 2**20


class _File(NamedTuple):
    name: str
    content: bytes


class _Sample(NamedTuple):
    name: str
    at: int
    size: int
    label: Any


def open_tars(source: str) -> Source:
    """A folder of uncompressed tar files; the split is in their names, as in `train-0001.tar`.

    Label names may stand in `classes.txt` in the folder, one a line.

    Raises:
        InputError: If a tar file is damaged, or a sample has no label or several images.
    """
    root = Path(source).expanduser()
    splits = by_split(root.glob("*.tar"))
    given = given_names(root)
    found = (sample.label for files in splits.values() for file in files for sample in _samples(file))
    class_names = label_names(found, given)
    names = {name: label for label, name in enumerate(class_names)}
    parts = {split: Rows(_rows(files, names)) for split, files in splits.items()}
    return make_source(source, class_names, parts, listing(root), origin=_origin)


def _rows(files: list[Path], names: dict[str, int]) -> Iterator[Row]:
    for file in files:
        for sample in _samples(file):
            label = label_index(sample.label, names, f"{file}, {sample.name}")
            yield Row(str(file), sample.at, sample.size, label)


def _samples(file: Path) -> Iterator[_Sample]:
    """Yield the samples of a tar; the files of one stand beside each other."""
    key, image, labels = "", None, dict[str, _File]()
    for member, content in _members(file):
        folder, _, name = member.name.rpartition("/")
        this, _, extension = name.partition(".")
        if (folder + "/" + this) != key:
            if image is not None:
                yield _sample(file, image, labels)
            key, image, labels = folder + "/" + this, None, {}
        if "." + extension.lower().rpartition(".")[2] in IMAGE_SUFFIXES:
            if image is not None:
                raise InputError(
                    f"{file}, {member.name}: a second image of {this!r}, beside {image.name}, and a sample has one; "
                    "leave out masks and the like, or give another image a name of its own before the first dot"
                )
            image = member
        elif content is not None:
            labels[extension] = _File(member.name, content)
    if image is not None:
        yield _sample(file, image, labels)


def _sample(file: Path, image: tarfile.TarInfo, labels: dict[str, _File]) -> _Sample:
    folder = image.name.rpartition("/")[0].rpartition("/")[2]
    label = next(
        (_label(file, extension, labels[extension]) for extension in ("cls", "json") if extension in labels), None
    )
    if label is None and not folder:
        raise InputError(f"{file}, {image.name}: no label; expected a .cls or .json beside it, or a folder per class")
    if image.size < 1:
        raise InputError(f"{file}, {image.name}: no image, 0 bytes; repair or remove it")
    return _Sample(image.name, image.offset_data, image.size, folder if label is None else label)


def _members(file: Path) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Yield the files of a tar, those that may be labels with their content."""
    try:
        with tarfile.open(file, "r:") as opened:
            while (member := opened.next()) is not None:
                opened.members.clear()  # type: ignore[attr-defined]  # it would remember every one
                if member.isfile():
                    small = member.name.endswith((".cls", ".json")) and member.size <= MAX_LABEL_BYTES
                    stream = opened.extractfile(member) if small else None
                    yield member, stream.read() if stream else None
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a readable uncompressed tar ({error})") from None


def _label(file: Path, extension: str, found: _File) -> Any:
    try:
        text = found.content.decode()
        return text.strip() if extension == "cls" else json.loads(text)["label"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{file}, {found.name}: no label in it ({error!r})") from None


def _origin(row: Row) -> str:
    found = (member.name for member, _ in _members(Path(row.file)) if member.offset_data == row.at)
    return f"{file_name(row)}, {next(found, f'byte {row.at}')}"
