"""A folder of Parquet files as Hugging Face lays them out. It must not know how sources are chosen, nor its readers.

Images stand in a column of bytes, or of structs of bytes and path; labels in one of whole numbers, or of names. Label
names come from the schema's metadata; the split from the file's name, `train-00000-of-00004.parquet`.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.data.sources.source import (
    Row,
    Rows,
    Source,
    by_split,
    file_name,
    label_index,
    label_names,
    listing,
    make_source,
)
from supernet.errors import InputError

UNLABELLED = -1


def open_parquet(source: str) -> Source:
    """Open a folder of Parquet files; a split without labels, as ImageNet's test, is left out.

    Raises:
        InputError: If a file is damaged, lacks a column of images or of labels, or holds a label without a name.
    """
    root = Path(source).expanduser()
    splits = by_split(root.glob("*.parquet"))
    splits = {split: files for split, files in splits.items() if split == "train" or _labelled(files)}
    given = _given_names(next(iter(splits["train"] if "train" in splits else next(iter(splits.values())))))
    found = (label for files in splits.values() for file in files for label in _labels(file))
    class_names = label_names(found, given)
    names = {name: label for label, name in enumerate(class_names)}
    parts = {split: Rows(_rows(files, names)) for split, files in splits.items()}
    return make_source(source, class_names, parts, listing(root), read=_encoded, origin=_origin)


def _rows(files: list[Path], names: dict[str, int]) -> Iterator[Row]:
    for file in files:
        with _opened(file) as opened:
            column = _columns(file, opened.schema_arrow)[1]
            for group in range(opened.num_row_groups):
                for row, label in enumerate(_read(file, opened, group, column).to_pylist()):
                    yield Row(str(file), group, row, label_index(label, names, f"{file}, row group {group}, row {row}"))


def _labels(file: Path) -> Iterator[Any]:
    """Yield the distinct labels of a file's row groups."""
    with _opened(file) as opened:
        column = _columns(file, opened.schema_arrow)[1]
        for group in range(opened.num_row_groups):
            yield from _read(file, opened, group, column).unique().to_pylist()


def _labelled(files: list[Path]) -> bool:
    return any(label != UNLABELLED for file in files for label in _labels(file))


def _encoded(row: Row) -> bytes:
    value = _images(row.file, row.at)[row.size].as_py()
    encoded = value.get("bytes") if isinstance(value, dict) else value
    if not encoded:
        raise InputError(f"{_origin(row)}: no image, 0 bytes; only embedded images can be read")
    return bytes(encoded)


def _origin(row: Row) -> str:
    return f"{file_name(row)}, row group {row.at}, row {row.size}"


@lru_cache(maxsize=1)
def _images(file: str, group: int) -> pa.Array:
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


def _given_names(file: Path) -> list[str] | None:
    """Return the label names of the schema's metadata, if it has them."""
    with _opened(file) as opened:
        schema = opened.schema_arrow
    column = _columns(file, schema)[1]
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (ValueError, KeyError, TypeError):
        return None
