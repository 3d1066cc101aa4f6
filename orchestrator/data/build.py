"""Turn labelled images into a data set of Parquet shards, once.

Why here: every data source, the embedded one and the user's own, goes through this one piece of code. It must not
know torch, ray or mlflow, nor how batches are made.

The split is stratified and fixed by the seed. Rows are shuffled when they are written, so that a reader that shuffles
only within a few row groups still mixes the classes.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.data.format import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    SPLITS,
    Manifest,
    Shard,
    decode,
    read_manifest,
    to_gray,
)
from orchestrator.data.place import placed
from orchestrator.data.sources.registry import open_source
from orchestrator.data.sources.source import Part, Source
from orchestrator.data.storage import Storage
from supernet.errors import InputError

T = TypeVar("T")
Progress = Callable[[int, int], None]
SCHEMA = pa.schema([("image", pa.binary()), ("label", pa.int32())])
GROUPS_PER_FILE = 16


@dataclass(frozen=True)
class _Seen:
    """What the builder learns of one image: moments are (red, green, blue, gray) means of x and of x squared."""

    encoded: bytes
    digest: bytes
    channels: int
    size: tuple[int, int]
    moments: np.ndarray[Any, np.dtype[np.float64]]


def build(
    source: str,
    out_dir: str | Path,
    *,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    rows_per_group: int = 256,
    groups_per_file: int = GROUPS_PER_FILE,
    progress: Progress | None = None,
) -> Manifest:
    """Build a data set folder, or return the one that is there if it was built from the same inputs.

    The folder appears at once when it is complete; a build that is killed leaves no data set.

    Args:
        source: `digits`, `torchvision:<Dataset>:<folder>`, a folder of Parquet files, or a folder of images:
            `<folder>/<class>/*.png`, or `<folder>/train/<class>` with `<folder>/test/<class>` (or `val`), whose test
            split is then kept.
        out_dir: The folder to make, or where in an object store (`s3://...`).
        validation_fraction: Share of each class's images that searches architectures, of those not given as test.
        test_fraction: Share of each class's images kept for the test; without effect if the source brings a test split.
        seed: Seed of the split and of the order of the rows.
        rows_per_group: Images per row group: what is read at once.
        groups_per_file: Row groups per file.
        progress: Called with (images done, images in all).

    Raises:
        InputError: If the source is empty, an image cannot be read, a class has too few images, or the folder holds
            something else.
    """
    store = Storage(str(out_dir))
    if store.is_local and Path(source).is_dir() and Path(store.root).resolve().is_relative_to(Path(source).resolve()):
        raise InputError(f"{out_dir}: lies inside its own source {source}; choose a folder outside")
    if rows_per_group < 1 or groups_per_file < 1:
        raise InputError(f"rows_per_group {rows_per_group}, groups_per_file {groups_per_file}: both must be at least 1")
    opened = open_source(source)
    given = opened.test is not None
    _check_fractions(validation_fraction, None if given else test_fraction)
    asked: dict[str, Any] = {
        "validation_fraction": validation_fraction,
        "test_fraction": None if given else test_fraction,
        "seed": seed,
        "rows_per_group": rows_per_group,
    }
    if store.exists(MANIFEST_NAME) or (store.is_local and store.names()):
        return _reuse(store, opened, asked)
    rows = _split(opened, validation_fraction, None if given else test_fraction, seed)
    try:
        with placed(store, last=MANIFEST_NAME) as folder:
            manifest = _write(opened, folder, rows, asked, groups_per_file, progress)
            (folder / MANIFEST_NAME).write_text(manifest.to_json())
    except OSError:
        if not store.exists(MANIFEST_NAME):
            raise
        return _reuse(store, opened, asked)  # another process was faster
    return manifest


def _check_fractions(validation: float, test: float | None) -> None:
    for name, value in (("validation_fraction", validation), ("test_fraction", test)):
        if value is not None and not 0 < value < 1:
            raise InputError(f"{name} {value}: must lie between 0 and 1 (both excluded), such as 0.1")
    if validation + (test or 0) >= 1:
        raise InputError(f"validation_fraction {validation} + test_fraction {test}: nothing is left to train on")


def _reuse(store: Storage, opened: Source, asked: dict[str, Any]) -> Manifest:
    """Return the data set in the store if it is the one asked for.

    Raises:
        InputError: If it is another one, or none.
    """
    remedy = "remove the folder or choose another"
    manifest = read_manifest(store)
    for name, value in asked.items():
        found = getattr(manifest, name)
        if found != value:
            raise InputError(f"{store.uri}: holds a data set built with {name} {found}, not {value}; {remedy}")
    if manifest.listing == opened.listing:
        return manifest
    # Copies and clones change times but not images, so only the images decide.
    digests = [[_digest(part.encoded(i)) for i in range(len(part.labels))] for part in _parts(opened)]
    if manifest.content != _content(opened, digests):
        raise InputError(
            f"{store.uri}: holds a data set built from other images (source {manifest.source!r}); {remedy}"
        )
    return manifest


def _split(
    opened: Source, validation_fraction: float, test_fraction: float | None, seed: int
) -> dict[str, list[tuple[Part, int]]]:
    """Choose the images of each split, stratified, each split in the shuffled order it is written in."""
    chosen: dict[str, list[int]] = {name: [] for name in SPLITS}
    labels = np.asarray(opened.main.labels)
    fractions = {"validation": validation_fraction} | ({} if test_fraction is None else {"test": test_fraction})
    for label, name in enumerate(opened.class_names):
        of_class = np.flatnonzero(labels == label)
        order = np.random.default_rng([seed, label]).permutation(of_class).tolist()
        need = {split: max(1, round(fraction * len(order))) for split, fraction in fractions.items()}
        if len(order) - sum(need.values()) < 1:
            where = f"{opened.name}: class {name!r}"
            raise InputError(
                f"{where}: {len(order)} images are too few to train on after {need} are set aside; "
                "add images or remove the class"
            )
        for split, count in need.items():
            chosen[split] += order[:count]
            order = order[count:]
        chosen["train"] += order
    rows = {split: [(opened.main, i) for i in indices] for split, indices in chosen.items()}
    if opened.test is not None:
        rows["test"] = [(opened.test, i) for i in range(len(opened.test.labels))]
    for number, split in enumerate(SPLITS):
        order = np.random.default_rng([seed, len(opened.class_names), number]).permutation(len(rows[split])).tolist()
        rows[split] = [rows[split][i] for i in order]
    return rows


class _Tally:
    """What the manifest says about the images, gathered while they are written."""

    def __init__(self, opened: Source) -> None:
        self.opened = opened
        self.parts = _parts(opened)
        self.digests = [[b""] * len(part.labels) for part in self.parts]
        self.sizes: set[tuple[int, int]] = set()
        self.channels = 1
        self.moments = np.zeros((2, 4))

    def add(self, row: tuple[Part, int], seen: _Seen, *, train: bool) -> None:
        """Take in one image; only those of the train split count for mean and standard deviation."""
        part, i = row
        self.digests[self.parts.index(part)][i] = seen.digest
        self.sizes.add(seen.size)
        self.channels = max(self.channels, seen.channels)
        if train:
            self.moments += seen.moments

    def manifest(self, counts: dict[str, int], asked: dict[str, Any], shards: list[Shard]) -> Manifest:
        """Return the manifest of the finished shards."""
        mean, square = self.moments / counts["train"]
        std = np.sqrt(np.maximum(square - mean**2, 0.0))
        std = np.where(std > 1e-3, std, 1.0)  # a constant channel is centred, not blown up
        channels = slice(0, 3) if self.channels == 3 else slice(3, 4)
        content = _content(self.opened, self.digests)
        layout = repr((FORMAT_VERSION, content, sorted(asked.items()), shards))
        return Manifest(
            format_version=FORMAT_VERSION,
            source=self.opened.name,
            class_names=self.opened.class_names,
            counts=counts,
            channels=self.channels,
            image_size=self.sizes.pop() if len(self.sizes) == 1 else None,
            mean=tuple(mean[channels].tolist()),
            std=tuple(std[channels].tolist()),
            gray_mean=float(mean[3]),
            gray_std=float(std[3]),
            **asked,
            listing=self.opened.listing,
            content=content,
            fingerprint=hashlib.sha256(layout.encode()).hexdigest()[:16],
            shards=tuple(shards),
        )


def _write(
    opened: Source,
    folder: Path,
    rows: dict[str, list[tuple[Part, int]]],
    asked: dict[str, Any],
    groups_per_file: int,
    progress: Progress | None,
) -> Manifest:
    """Write the shards, looking at every image on the way, and return the manifest."""
    tally, shards = _Tally(opened), list[Shard]()
    done, total = 0, sum(map(len, rows.values()))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split in SPLITS:
            groups = _chunks(rows[split], asked["rows_per_group"])
            for number, members in enumerate(_chunks(groups, groups_per_file)):
                name = f"{split}-{number:05d}.parquet"
                with pq.ParquetWriter(folder / name, SCHEMA, compression="none", use_dictionary=False) as writer:
                    for group in members:
                        seen = list(pool.map(_look, group))
                        columns = {"image": [s.encoded for s in seen], "label": [part.labels[i] for part, i in group]}
                        writer.write_table(pa.table(columns, schema=SCHEMA))
                        for row, image in zip(group, seen, strict=True):
                            tally.add(row, image, train=split == "train")
                        done += len(group)
                        if progress is not None:
                            progress(done, total)
                shards.append(Shard(name, split, tuple(map(len, members))))
    return tally.manifest({split: len(rows[split]) for split in SPLITS}, asked, shards)


def _chunks(items: list[T], size: int) -> list[list[T]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _parts(opened: Source) -> list[Part]:
    return [opened.main] if opened.test is None else [opened.main, opened.test]


def _look(row: tuple[Part, int]) -> _Seen:
    """Read one image, decode it (so that a broken one is found now, not in the night) and take its moments."""
    part, i = row
    encoded = part.encoded(i)
    pixels = decode(encoded, None, part.origin(i))
    gray = to_gray(pixels)
    stacked = np.concatenate([np.broadcast_to(pixels, (3, *pixels.shape[1:])), gray]) / 255.0
    moments = np.stack([stacked.mean((1, 2)), np.square(stacked).mean((1, 2))])
    return _Seen(encoded, _digest(encoded), len(pixels), (pixels.shape[1], pixels.shape[2]), moments)


def _digest(encoded: bytes) -> bytes:
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _content(opened: Source, digests: Sequence[Sequence[bytes]]) -> str:
    """Hash class names, labels and images in the source's order; one list of digests per part."""
    whole = hashlib.sha256("\0".join(opened.class_names).encode())
    for part, of_part in zip(_parts(opened), digests, strict=True):
        whole.update(f"\npart {len(of_part)}\n".encode())
        for label, digest in zip(part.labels, of_part, strict=True):
            whole.update(label.to_bytes(4, "little") + digest)
    return whole.hexdigest()
