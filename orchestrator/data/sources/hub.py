"""A data set of the Hugging Face hub, by the `datasets` library. It must not know how sources are chosen.

Why here: what is on the hub comes in many layouts, and that library reads them all; encoded images are kept
as they are. It is an extra: `pip install 'onepath[hf]'`.
"""

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.data.sources.source import Row, Rows, Source, make_source, split_of
from supernet.errors import InputError, RunError

UNLABELLED = -1
BLOCK = 65536


def parse_hub(source: str) -> tuple[str, str | None]:
    """Return the data set's name and, of `hf:NAME:CONFIG`, its configuration.

    Raises:
        InputError: If the source is not of the form, or the library is not installed.
    """
    _, _, rest = source.partition(":")
    name, _, config = rest.partition(":")
    if not name:
        raise InputError(f"{source}: expected hf:<name of a data set>, or hf:<name>:<configuration>")
    if importlib.util.find_spec("datasets") is None:
        raise InputError(f"{source}: the library `datasets` is not installed; pip install 'onepath[hf]'")
    return name, config or None


def open_hub(source: str) -> Source:
    """A classification data set of the hub, downloaded by `datasets` if its cache does not hold it.

    A split without labels, as ImageNet's test, is left out.

    Raises:
        InputError: If it has no column of images, or of named labels.
        RunError: If it can neither be found nor downloaded.
    """
    name, config = parse_hub(source)
    import datasets

    try:
        loaded = datasets.load_dataset(name, config)
    except Exception as error:  # whatever a hub, a network or a data set's layout makes the library raise
        raise RunError(
            f"{source}: cannot be loaded ({type(error).__name__}: {error}); check the name, the network, and "
            "`hf auth login` for data sets that want it"
        ) from error
    splits = _splits(source, loaded)
    if not splits:
        raise InputError(f"{source}: splits {', '.join(loaded) or 'none'}; one must be named train")
    image, label = _columns(source, next(iter(splits.values())).features)
    names = [str(given) for given in next(iter(splits.values())).features[label].names]
    kept, rows, digest = dict[str, Any](), dict[str, Rows](), hashlib.sha256(f"{image}\n{label}".encode())
    for split, part in splits.items():
        labels = partial(_labels, part.select_columns([label]), label)
        if split == "train" or any(value != UNLABELLED for value in labels()):
            kept[split] = part.select_columns([image]).cast_column(image, datasets.Image(decode=False))
            rows[split] = Rows(Row(split, number, 0, value) for number, value in enumerate(labels()))
            digest.update(f"\n{split} {part._fingerprint}".encode())
    listing, told = digest.hexdigest(), _Origin(source)
    return make_source(source, names, rows, listing, read=_Read(kept, image, told), origin=told)


def _splits(source: str, loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts by split: one whose name is the split's goes before others whose names speak of it."""
    words: dict[str, list[str]] = {}
    for word in loaded:
        split = split_of(word)
        if split:
            words.setdefault(split, []).append(word)
    found = {}
    for split, speaking in words.items():
        exact = [word for word in speaking if word == split] or speaking
        if len(exact) > 1:
            raise InputError(f"{source}: splits {', '.join(exact)} all speak of {split}; one must be named {split}")
        found[split] = loaded[exact[0]]
    return found


def _labels(part: Any, column: str) -> Iterator[int]:
    for first in range(0, len(part), BLOCK):
        for value in part[first : first + BLOCK][column]:
            yield UNLABELLED if value is None else int(value)


def _columns(source: str, features: Any) -> tuple[str, str]:
    """Return the names of the image column and of the label column."""
    import datasets

    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(labels) > 1:  # besides the label there may be a coarser one
        labels = [name for name in labels if name in ("label", "labels")]
    if len(images) == len(labels) == 1:
        return images[0], labels[0]
    raise InputError(
        f"{source}: columns {', '.join(features)}; expected one of images and one of named labels, called `label` if "
        "there are several"
    )


@dataclass(frozen=True)
class _Origin:
    source: str

    def __call__(self, row: Row) -> str:
        return f"{self.source} {row.file}, image {row.at}"


@dataclass(frozen=True)
class _Read:
    parts: dict[str, Any]
    column: str
    origin: _Origin

    def __call__(self, row: Row) -> bytes:
        stored = self.parts[row.file][row.at][self.column] or {}
        if stored.get("bytes"):
            return bytes(stored["bytes"])
        try:
            return Path(stored.get("path") or "").read_bytes()
        except OSError as error:
            raise InputError(f"{self.origin(row)}: no image, 0 bytes, and no file of it ({error})") from None
