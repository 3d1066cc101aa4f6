"""Look at every image of a source once: is it whole, what is its digest, what are its moments. Resumable, in chunks.

Why here: how a source is split and what the manifest says follow from what is found, whatever kind of source it is. It
must not know splits or shards. What is found of a chunk is a file of the work folder; so is a copy of its encoded
images, if they do not lie in files as they are.
"""

import io
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from orchestrator.data.format import SPLITS
from orchestrator.data.index import Entry, Index
from orchestrator.data.keys import image_digest
from orchestrator.data.pixels import num_channels, open_image
from orchestrator.data.processes import in_order
from orchestrator.data.sources.source import Row, Source, read_bytes
from supernet.errors import InputError
from supernet.files import whole

CHUNK = 512
FIXED = 2**40
"""Means are summed as whole multiples of 1 / FIXED, so that no order of the images changes a sum."""

SEEN = np.dtype(
    [
        ("digest", "<u8", 2),
        ("label", "<i4"),
        ("channels", "u1"),  # 0: corrupt
        ("size", "<u4", 2),  # height, width
        ("moments", "<i8", (2, 4)),  # means of x and of x squared in 0..1, of red, green, blue and gray, times FIXED
        ("at", "<i8"),  # of the encoded image in the copy, see `Source.read`
        ("num_bytes", "<i8"),
    ]
)
Seen = np.ndarray[Any, np.dtype[np.void]]
SQUARES = np.stack([np.arange(256) / 255, np.square(np.arange(256) / 255)], axis=1)


class Chunk(NamedTuple):
    """Some rows that follow each other in one part of a source."""

    number: int
    rows: list[Row]


@dataclass(frozen=True)
class Examined:
    """What was found of a source; its rows are numbered part after part in the order of `SPLITS`.

    Attributes:
        source: The source.
        folder: The work folder.
        starts: First row of each part, by split.
        first_chunks: Number of the first chunk of each part, by split.
        corrupt: One line per corrupt image.
        channels: 1 if every image is gray, else 3.
        image_size: (height, width) if all have the same, else None.
        num_bytes: Of all encoded images.
    """

    source: Source
    folder: Path
    starts: dict[str, int]
    first_chunks: dict[str, int]
    corrupt: tuple[str, ...]
    channels: int
    image_size: tuple[int, int] | None
    num_bytes: int

    def origin(self, row: int) -> str:
        """Return what to call an image."""
        split, i = self._located(row)
        return self.source.origin(self.source.parts[split][i])

    def _located(self, row: int) -> tuple[str, int]:
        split = max((split for split in self.starts if self.starts[split] <= row), key=self.starts.__getitem__)
        return split, row - self.starts[split]

    def place(self, entry: Entry) -> Row:
        """Return where an encoded image lies in a file as it is."""
        split, i = self._located(entry.row)
        if self.source.read is read_bytes:
            return self.source.parts[split][i]
        copy = _copy_file(self.folder, self.first_chunks[split] + i // CHUNK)
        return Row(str(copy), entry.at, entry.num_bytes, entry.label)

    def moments(self, chosen: Callable[[int, int], Sequence[int]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return means over images of (x, x squared), shape (2, 4): red, green, blue, gray.

        Args:
            chosen: From first and last row (not included) to the rows between that count.
        """
        sums, count = [0] * 8, 0
        for number, split, first, last in _spans(self.source):
            start = self.starts[split]
            rows = np.array(chosen(start + first, start + last), np.int64) - start - first
            part = _load(self.folder, number)[0]["moments"][rows].sum(0, dtype=np.int64).reshape(-1)
            sums = [have + more for have, more in zip(sums, part.tolist(), strict=True)]
            count += len(rows)
        return np.array([value / count / FIXED for value in sums]).reshape(2, 4)


def examine(
    source: Source,
    folder: Path,
    index: Index,
    *,
    num_processes: int,
    progress: Callable[[int, int], None],
) -> Examined:
    """Look at every image; chunks whose files are in `folder` already are not looked at again.

    Args:
        source: The images.
        folder: Where the chunks' files are kept, of this source alone.
        index: Is told what is found of each image that is whole.
        num_processes: Processes to use.
        progress: Called with (images seen, images in all).
    """
    total, done = sum(map(len, source.parts.values())), 0
    num_bytes, sizes, channels = 0, set[tuple[int, int]](), 1
    corrupt: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    missing = {number for number, *_ in _spans(source) if not _file(folder, number).exists()}
    chunks = (
        Chunk(number, [source.parts[split][i] for i in range(first, last)])
        for number, split, first, last in _spans(source)
        if number in missing
    )
    looked = in_order(_Look(source.read, source.origin, folder), chunks, num_processes)
    for number, split, first, last in _spans(source):
        if number in missing:
            next(looked)
        seen, faults = _load(folder, number)
        labels = np.where(seen["channels"] > 0, seen["label"], -1)
        index.add(split, done, labels, seen["digest"], seen["at"], seen["num_bytes"])
        num_bytes += int(seen["num_bytes"].sum())
        good = seen[seen["channels"] > 0]
        corrupt += faults
        if len(sizes) < 2:
            sizes |= set(map(tuple, np.unique(good["size"], axis=0).tolist()))
        channels = max(channels, int(good["channels"].max(initial=1)))
        done += last - first
        progress(done, total)
    starts, first_chunks, first = dict[str, int](), dict[str, int](), 0
    for number, split, of_part, _ in _spans(source):
        if of_part == 0:
            starts[split], first_chunks[split] = first, number
            first += len(source.parts[split])
    return Examined(
        source=source,
        folder=folder,
        starts=starts,
        first_chunks=first_chunks,
        corrupt=tuple(corrupt),
        channels=3 if channels == 3 else 1,
        image_size=sizes.pop() if len(sizes) == 1 else None,
        num_bytes=num_bytes,
    )


@dataclass(frozen=True)
class _Look:
    """Looks at a chunk, in whichever process, and writes what it found."""

    read: Callable[[Row], bytes]
    origin: Callable[[Row], str]
    folder: Path

    def __call__(self, chunk: Chunk) -> None:
        seen, faults = np.zeros(len(chunk.rows), SEEN), []
        copied = io.BytesIO() if self.read is not read_bytes else None
        for one, row in zip(seen, chunk.rows, strict=True):
            one["label"] = row.label
            try:
                encoded = self.read(row)
                _describe(one, encoded, self.origin, row)
            except InputError as error:
                faults.append(str(error))
                continue
            if copied is not None:
                one["at"] = copied.tell()
                copied.write(encoded)
        if copied is not None:
            with whole(_copy_file(self.folder, chunk.number)) as part:
                part.write_bytes(copied.getbuffer())
        with whole(_file(self.folder, chunk.number)) as part:
            np.savez(part, allow_pickle=False, seen=seen.view(np.uint8), faults=np.array(json.dumps(faults)))


def _describe(one: Any, encoded: bytes, origin: Callable[[Row], str], row: Row) -> None:
    """Fill in what is found of one image."""
    try:
        image = open_image(encoded, "")
    except InputError as error:
        raise InputError(f"{origin(row)}{error}") from None
    one["digest"] = np.frombuffer(image_digest(encoded), "<u8")
    one["size"] = (image.height, image.width)
    one["num_bytes"] = len(encoded)
    one["moments"] = moments(image)
    one["channels"] = num_channels(image)


def moments(image: Image.Image) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return means of x and of x squared in 0..1 of red, green, blue and gray, times `FIXED`, shape (2, 4)."""
    gray = image.convert("L")
    colour = gray.histogram() * 3 if num_channels(image) == 1 else image.convert("RGB").histogram()
    counts = np.array(colour + gray.histogram(), np.float64).reshape(4, 256)
    means = (counts @ SQUARES).T / (image.width * image.height)
    return np.asarray(np.rint(means * FIXED), np.int64)


def _spans(source: Source) -> Iterator[tuple[int, str, int, int]]:
    """Yield number, split, first and last row (not included) of each chunk."""
    numbers = itertools.count()
    for split in SPLITS:
        if split in source.parts:
            length = len(source.parts[split])
            for first in range(0, length, CHUNK):
                yield next(numbers), split, first, min(first + CHUNK, length)


def _file(folder: Path, number: int) -> Path:
    return folder / f"seen-{number:06d}.npz"


def _copy_file(folder: Path, number: int) -> Path:
    return folder / f"copy-{number:06d}.bin"


def _load(folder: Path, number: int) -> tuple[Seen, list[str]]:
    with np.load(_file(folder, number), allow_pickle=False) as stored:
        return stored["seen"].view(SEEN), json.loads(str(stored["faults"]))
