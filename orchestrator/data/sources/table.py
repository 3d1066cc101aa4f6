"""A CSV file of image paths and labels. It must not know how sources are chosen, nor what is made of them."""

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

from orchestrator.data.sources.source import (
    NAMES_FILE,
    SPLIT_WORDS,
    Row,
    Rows,
    Source,
    given_names,
    label_index,
    label_names,
    listing,
    make_source,
)
from supernet.errors import InputError, nearest

PATH_COLUMNS = ("path", "file", "filename", "image")
LABEL_COLUMNS = ("label", "class", "target")


def open_table(source: str) -> Source:
    """A CSV file with a header: columns `path` (relative to the file's folder) and `label`, and `split` if wanted.

    Labels are names, or numbers that `classes.txt` beside the file may name.

    Raises:
        InputError: If a column is missing, a line is short, or a split is unknown.
    """
    file = Path(source).expanduser()
    given = given_names(file.parent)
    class_names = label_names((label for _, _, label, _ in _lines(file)), given)
    names = {name: label for label, name in enumerate(class_names)}
    splits = {split for _, split, _, _ in _lines(file)}
    parts = {split: Rows(_rows(file, split, names)) for split in sorted(splits)}
    files = itertools.chain(
        [str(file), str(file.parent / NAMES_FILE)], (str(file.parent / line[3]) for line in _lines(file))
    )
    return make_source(source, class_names, parts, listing(file.parent, files))


def _rows(file: Path, wanted: str, names: dict[str, int]) -> Iterator[Row]:
    for number, split, label, path in _lines(file):
        if split == wanted:
            yield Row(str(file.parent / path), 0, 0, label_index(label, names, f"{file}, line {number}"))


def _lines(file: Path) -> Iterator[tuple[int, str, str, str]]:
    """Yield line number, split, label and path of every line."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            lines = csv.reader(opened, strict=True)
            header = [name.strip().lower() for name in next(lines, [])]
            path, label = _column(file, header, PATH_COLUMNS), _column(file, header, LABEL_COLUMNS)
            split = header.index("split") if "split" in header else None
            for line in lines:
                if len(line) != len(header):
                    raise InputError(f"{file}, line {lines.line_num}: {len(line)} columns, not {len(header)}")
                word = "train" if split is None else line[split].strip().lower()
                if word not in SPLIT_WORDS:
                    raise InputError(f"{file}, line {lines.line_num}: split {word!r}{nearest(word, SPLIT_WORDS)}")
                yield lines.line_num, SPLIT_WORDS[word], line[label], line[path]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: not readable as CSV ({error})") from None


def _column(file: Path, header: list[str], names: tuple[str, ...]) -> int:
    found = [name for name in names if name in header]
    if not found:
        raise InputError(f"{file}: columns {', '.join(header) or 'none'}; one must be named {' or '.join(names)}")
    return header.index(found[0])
