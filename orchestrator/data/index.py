"""What is known of every image of a source, in a database: sorted on disk, so memory does not grow with the images.

Why here: cutting off splits, ordering by chance and counting are what a database does. It must not know where images
lie, nor what they look like.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orchestrator.data.keys import Indices, Keys, image_keys
from supernet.errors import RunError

SPLITTING, ORDERING = 1, 2
BLOCK = 8192
"""Images in memory at once."""
HALF = 2**63
"""Taken from a 64-bit number for the database, whose numbers have a sign; it keeps their order."""

DISK = ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA temp_store = FILE", "BEGIN")
"""Nothing is lost with it: it is filled anew by every build."""

SEEN = """CREATE TABLE seen (row INTEGER PRIMARY KEY, part TEXT, label INTEGER, high INTEGER, low INTEGER, at INTEGER,
num_bytes INTEGER, splitting INTEGER, ordering INTEGER)"""

PLACED = """CREATE TABLE placed AS
SELECT row, label, high, low, at, num_bytes, ordering, part AS split FROM seen WHERE part <> :main
UNION ALL
SELECT row, numbered.label, high, low, at, num_bytes, ordering, coalesce(cut.split, :main)
FROM (
    SELECT *, row_number() OVER (PARTITION BY label ORDER BY splitting, high, low) AS place
    FROM seen WHERE part = :main
) AS numbered
LEFT JOIN cut ON cut.label = numbered.label AND place > cut.first AND place <= cut.last"""

PAIRS = """SELECT before, of_before, row, split
FROM (
    SELECT min(row) AS row, split, lag(min(row)) OVER equal AS before, lag(split) OVER equal AS of_before
    FROM placed GROUP BY high, low, split WINDOW equal AS (PARTITION BY high, low ORDER BY min(row))
)
WHERE before IS NOT NULL ORDER BY before, row"""


class Entry(NamedTuple):
    """What is known of one image.

    Attributes:
        row: Its number in the source, part after part.
        label: Index of its class.
        digest: 16 bytes.
        at: Where it begins in its chunk's copy, if there is one.
        num_bytes: Encoded.
    """

    row: int
    label: int
    digest: bytes
    at: int
    num_bytes: int


class Pair(NamedTuple):
    """Two rows of the same image, with the split of each."""

    first: int
    first_split: str
    second: int
    second_split: str


@contextmanager
def new_index(file: Path, seed: int) -> Iterator["Index"]:
    """Give an empty index; its file is of use to nobody afterwards.

    Raises:
        RunError: If it cannot be kept on disk.
    """
    file.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            yield Index(database, seed)
    except sqlite3.Error as error:
        raise RunError(f"{file}: cannot be kept ({error}); free space there and where temporary files are") from error


class Index:
    """Images by part of their source, then by split. Order and splits follow from what images are and the seed alone.

    Args:
        database: An empty one.
        seed: Of what is drawn.
    """

    def __init__(self, database: sqlite3.Connection, seed: int) -> None:
        self._database, self._seed = database, seed
        for statement in (*DISK, SEEN):
            database.execute(statement)

    def add(self, part: str, first: int, labels: Indices, digests: Keys, at: Indices, num_bytes: Indices) -> None:
        """Add images of a part of the source.

        Args:
            part: Its name.
            first: Row of the first one; the others follow.
            labels: Shape (n,), negative for an image that is to be left out.
            digests: Shape (n, 2).
            at: Shape (n,), see `Entry`.
            num_bytes: Shape (n,).
        """
        rows, good = np.arange(first, first + len(labels)), labels >= 0
        drawn = np.stack(
            [image_keys(digests[:, 0], self._seed, SPLITTING), image_keys(digests[:, 1], self._seed, ORDERING)]
        )
        numbers = np.stack([rows, labels, *_signed(digests.T), at, num_bytes, *_signed(drawn)], axis=1)[good]
        self._database.executemany(
            "INSERT INTO seen (row, label, high, low, at, num_bytes, splitting, ordering, part) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ([*values, part] for values in numbers.tolist()),
        )

    def by_content(self, part: str) -> Iterator[tuple[Keys, Indices]]:
        """Yield digests, shape (n, 2), and labels of a part, in blocks; in the order of digests, then of labels."""
        found = self._database.execute(
            "SELECT high, low, label FROM seen WHERE part = ? ORDER BY high, low, label", (part,)
        )
        while block := found.fetchmany(BLOCK):
            values = np.array(block, np.int64)
            yield _unsigned(values[:, :2]), values[:, 2]

    def num_seen(self, part: str) -> dict[int, int]:
        """Return how many images a part has of each label that it has any of."""
        return dict(self._database.execute("SELECT label, count(*) FROM seen WHERE part = ? GROUP BY label", (part,)))

    def split(self, main: str, cut_off: Mapping[str, Mapping[int, int]]) -> None:
        """Put every image into a split: as many of the main part as asked, by chance; others into that of their part.

        Args:
            main: The part that is cut; what is left of it is the split of its name.
            cut_off: By split, how many images of each label.
        """
        self._database.execute("CREATE TABLE cut (label INTEGER, split TEXT, first INTEGER, last INTEGER)")
        first: dict[int, int] = {}
        for split, counts in cut_off.items():
            for label, count in counts.items():
                start = first.get(label, 0)
                first[label] = start + count
                self._database.execute("INSERT INTO cut VALUES (?, ?, ?, ?)", (label, split, start, start + count))
        self._database.execute(PLACED, {"main": main})
        self._database.execute("CREATE INDEX placed_rows ON placed (split, row)")

    def num_placed(self, split: str) -> dict[int, int]:
        """Return how many images a split has of each label that it has any of."""
        found = self._database.execute("SELECT label, count(*) FROM placed WHERE split = ? GROUP BY label", (split,))
        return dict(found)

    def entries(self, split: str) -> Iterator[Entry]:
        """Yield the images of a split in an order that is drawn."""
        columns = "row, label, high, low, at, num_bytes"
        found = self._database.execute(
            f"SELECT {columns} FROM placed WHERE split = ? ORDER BY ordering, high, low, label",
            (split,),
        )
        for row, label, high, low, at, num_bytes in found:
            digest = (high + HALF).to_bytes(8, "little") + (low + HALF).to_bytes(8, "little")
            yield Entry(row, label, digest, at, num_bytes)

    def rows(self, split: str, first: int, last: int) -> list[int]:
        """Return which rows from `first` on, `last` left out, are in a split."""
        found = self._database.execute(
            "SELECT row FROM placed WHERE split = ? AND row >= ? AND row < ?", (split, first, last)
        )
        return [row for (row,) in found]

    def duplicates(self) -> Iterator[Pair]:
        """Yield where the same image stands in two splits; one in three splits makes two pairs."""
        return map(Pair._make, self._database.execute(PAIRS))


def _signed(values: Keys) -> Indices:
    return (values ^ np.uint64(HALF)).view(np.int64)


def _unsigned(values: Indices) -> Any:
    return values.view(np.uint64) ^ np.uint64(HALF)
