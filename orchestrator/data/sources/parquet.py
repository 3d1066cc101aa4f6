"""A folder of Parquet files as Hugging Face lays them out. It must not know how sources are chosen, nor its readers.

Images stand in a column of bytes, or of structs of bytes and path; labels in one of whole numbers, or of names. Label
names come from the schema's metadata; the split from the file's name, `train-00000-of-00004.parquet`.
"""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.data.sources.source import Part, Source, listing
from supernet.errors import InputError

SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
CACHED_GROUPS = 4


def open_parquet(source: str) -> Source:
    """Open a folder of Parquet files; without a `train` file, all files are one part.

    Raises:
        InputError: If a file is damaged, lacks a column of images or of labels, or holds a label without a name.
    """
    root = Path(source).expanduser()
    splits: dict[str, list[Path]] = {}
    for file in sorted(root.glob("*.parquet")):
        word = re.split(r"[^a-z]", file.name.lower(), maxsplit=1)[0]
        splits.setdefault(SPLIT_NAMES.get(word, "train"), []).append(file)
    if "train" not in splits:
        raise InputError(f"{root}: no file of a train split; expected names such as train-00000-of-00001.parquet")
    held = "test" if "test" in splits else "validation"
    main = [file for split, files in splits.items() if split != held for file in files]
    names = _class_names(main[0])
    test = _part(splits[held], names) if held in splits else None
    return Source(source, names, _part(main, names), test, listing(root))


def _part(files: list[Path], names: tuple[str, ...]) -> Part:
    labels: list[int] = []
    places: list[tuple[str, int, int]] = []
    for file in files:
        with _opened(file) as opened:
            column, first = _columns(file, opened.schema_arrow)[1], 0
            for group in range(opened.num_row_groups):
                found = [
                    _label(label, names, f"{file}, row {first + row}")
                    for row, label in enumerate(_read(file, opened, group, column).to_pylist())
                ]
                labels += found
                places += [(str(file), group, row) for row in range(len(found))]
                first += len(found)
    return Part(labels, lambda i: _encoded(*places[i]), lambda i: "{}, row group {}, row {}".format(*places[i]))


def _label(label: Any, names: tuple[str, ...], place: str) -> int:
    if isinstance(label, str) and label in names:
        return names.index(label)
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    raise InputError(f"{place}: label {label!r} is none of the {len(names)} classes")


def _encoded(file: str, group: int, row: int) -> bytes:
    value = _images(file, group)[row].as_py()
    encoded = value.get("bytes") if isinstance(value, dict) else value
    if not encoded:
        raise InputError(f"{file}, row group {group}, row {row}: no image bytes; only embedded images can be read")
    return bytes(encoded)


@lru_cache(CACHED_GROUPS)
def _images(file: str, group: int) -> pa.ChunkedArray:
    path = Path(file)
    with _opened(path) as opened:
        return _read(path, opened, group, _columns(path, opened.schema_arrow)[0])


def _opened(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: not a readable Parquet file ({error})") from None


def _read(file: Path, opened: pq.ParquetFile, group: int, column: str) -> pa.ChunkedArray:
    try:
        return opened.read_row_group(group, columns=[column])[column]
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: row group {group} cannot be read ({error})") from None


def _columns(file: Path, schema: pa.Schema) -> tuple[str, str]:
    """Return the names of the image column and of the label column."""
    images = [field.name for field in schema if _holds_images(field.type)]
    labels = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_string(field.type)]
    if len(labels) > 1:  # besides the label there may be an index or a coarser one
        labels = [name for name in labels if name in ("label", "labels")]
    if len(images) == len(labels) == 1:
        return images[0], labels[0]
    raise InputError(
        f"{file}: columns {', '.join(schema.names)}; expected one column of images (binary, or struct<bytes, path>) "
        "and one of labels, named `label` if there are several of whole numbers or text"
    )


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(file: Path) -> tuple[str, ...]:
    """Return the label names of the schema's metadata, or else the labels that the file holds."""
    with _opened(file) as opened:
        schema = opened.schema_arrow
        _, column = _columns(file, schema)
        try:
            features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
            return tuple(str(name) for name in features[column]["names"])
        except (ValueError, KeyError, TypeError):
            groups = [_read(file, opened, group, column) for group in range(opened.num_row_groups)]
            found = sorted({label for group in groups for label in group.unique().to_pylist()})
    if all(isinstance(label, int) for label in found):
        return tuple(str(label) for label in range(1 + max(found, default=-1)))
    return tuple(found)
