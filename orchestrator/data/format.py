"""The data set on disk: its manifest, checked when it is read. It must not know torch, ray or mlflow.

Why here: the builder writes it and the reader reads it, and neither should know the other.

A data set is a folder of Parquet shards and `dataset.json`. Each row holds an encoded image, its label and the image's
digest; the manifest holds a digest of every row group's labels and digests, and one of itself. So whatever is read is
checked against the manifest, and no more is read for it.
"""

import hashlib
import json
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Len
from pydantic.dataclasses import dataclass

from orchestrator.data.storage import Storage
from supernet.errors import InputError
from supernet.plain import STRICT, Name, parse_json, read, to_json, to_plain

FORMAT_VERSION = 2
MANIFEST_NAME = "dataset.json"
VALIDATION_FRACTION = 0.1
TEST_FRACTION = 0.1

Split = Literal["train", "validation", "test"]
SPLITS: tuple[str, ...] = ("train", "validation", "test")
Count = Annotated[int, Ge(0)]
Fraction = Annotated[float, Gt(0)]
Deviation = Annotated[float, Gt(0)]


@dataclass(frozen=True, config=STRICT)
class Shard:
    """One Parquet file.

    Attributes:
        file: Its name in the folder.
        split: The split it belongs to.
        rows: Rows of each of its row groups.
        digests: Digest of labels and images of each of its row groups, see `orchestrator.data.shards`.
    """

    file: Name
    split: Split
    rows: tuple[Annotated[int, Gt(0)], ...]
    digests: tuple[str, ...]


@dataclass(frozen=True, config=STRICT)
class Origin:
    """Where the images came from: told, but no part of what the data set is.

    Attributes:
        source: The source as the user wrote it.
        listing: Cheap fingerprint of the source (names, sizes, times); it changes when a copy is made.
        corrupt: Images left out, each with its reason.
        num_duplicates: Images that also stand in another split.
        duplicates: Some of them.
    """

    source: str
    listing: str
    corrupt: tuple[str, ...] = ()
    num_duplicates: Count = 0
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True, config=STRICT)
class Manifest:
    """What `dataset.json` says.

    Attributes:
        format_version: Layout of the folder; another version is refused.
        class_names: One name per label.
        class_counts: Images per split and label.
        channels: 1 if every image is gray, else 3.
        image_size: (height, width) if all images have the same size, else None.
        mean: Per-channel mean of the train split in 0..1, every image weighing the same.
        std: Per-channel standard deviation of the train split.
        gray_mean: The same for the images turned to gray (one value).
        gray_std: The same for the images turned to gray (one value).
        validation_fraction: Share of each class cut off for validation; None where the source brought its own.
        test_fraction: Share of each class cut off for test; None where the source brought its own.
        seed: Seed of the split and of the order of the rows.
        rows_per_group: Rows of a full row group.
        content: Fingerprint of every image and label, whatever their order.
        shards: The files.
        origin: Where the images came from.
        fingerprint: Of all the above but the origin: the same fingerprint, the same data set.
    """

    format_version: Literal[2]
    class_names: Annotated[tuple[str, ...], Len(1)]
    class_counts: dict[str, tuple[Count, ...]]
    channels: Literal[1, 3]
    image_size: tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)]] | None
    mean: tuple[float, ...]
    std: tuple[Deviation, ...]
    gray_mean: float
    gray_std: Deviation
    validation_fraction: Fraction | None
    test_fraction: Fraction | None
    seed: Count
    rows_per_group: Annotated[int, Gt(0)]
    content: str
    shards: tuple[Shard, ...]
    origin: Origin
    fingerprint: str = ""

    def __post_init__(self) -> None:
        """Check what several fields say together; make the fingerprint of a new manifest, or compare it."""
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean and std must have {self.channels} values, one per channel")
        if set(self.class_counts) != set(SPLITS):
            raise ValueError(f"class_counts has the keys {sorted(self.class_counts)}, not {sorted(SPLITS)}")
        for split in SPLITS:
            counts = self.class_counts[split]
            if len(counts) != self.num_classes:
                raise ValueError(f"class_counts.{split} must have {self.num_classes} values, one per class")
            if sum(counts) != sum(sum(shard.rows) for shard in self.shards if shard.split == split):
                raise ValueError(f"the shards of {split} do not hold the {sum(counts)} images of class_counts")
        if any(len(shard.rows) != len(shard.digests) for shard in self.shards):
            raise ValueError("a shard must have one digest per row group")
        made = self._fingerprint()
        if self.fingerprint not in ("", made):
            raise ValueError(f"fingerprint {self.fingerprint!r} is not that of the content, {made!r}: it was changed")
        object.__setattr__(self, "fingerprint", made)

    def _fingerprint(self) -> str:
        plain = {name: value for name, value in to_plain(self).items() if name not in ("origin", "fingerprint")}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.class_names)

    @property
    def counts(self) -> dict[str, int]:
        """Images per split."""
        return {split: sum(counts) for split, counts in self.class_counts.items()}

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation for images brought to `channels` channels (1 or 3)."""
        if channels == self.channels:
            return self.mean, self.std
        if channels == 1:
            return (self.gray_mean,), (self.gray_std,)
        return self.mean * 3, self.std * 3


def write_manifest(root: Storage, manifest: Manifest) -> None:
    """Write `dataset.json`."""
    root.write(MANIFEST_NAME, to_json(manifest).encode())


def read_manifest(root: Storage) -> Manifest:
    """Read `dataset.json` of a data set.

    Raises:
        InputError: If the folder holds no data set, one of another format, or a manifest that was changed or damaged.
    """
    path = f"{root.uri}/{MANIFEST_NAME}"
    if not root.exists(MANIFEST_NAME):
        raise InputError(
            f"{root.uri}: no data set here ({MANIFEST_NAME} is missing); make one with: onepath data build"
        )
    plain = parse_json(root.read(MANIFEST_NAME), path)
    version = plain.get("format_version") if isinstance(plain, dict) else None
    if isinstance(version, int) and version != FORMAT_VERSION:
        raise InputError(
            f"{path}: format version {version}, this onepath reads {FORMAT_VERSION}; remove the folder and build it "
            "again"
        )
    try:
        manifest: Manifest = read(Manifest, plain, path)
        if not plain.get("fingerprint"):  # only a manifest in the making has none
            raise InputError(f"{path}.fingerprint: missing; nothing says that the content is whole")
    except InputError as error:
        raise InputError(f"{error}; remove the folder and build it again") from None
    return manifest
