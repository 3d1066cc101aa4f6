"""The data set on disk: its manifest, and an encoded image turned into pixels.

Why here: the builder writes it and the reader reads it, and neither should know the other. It must not know torch,
ray or mlflow.

A data set is a folder of Parquet shards (columns `image`: encoded bytes, `label`: int32) and `dataset.json`.
"""

import io
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from orchestrator.data.storage import Storage
from supernet.errors import InputError

FORMAT_VERSION = 1
MANIFEST_NAME = "dataset.json"
SPLITS = ("train", "validation", "test")

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Shard:
    """One Parquet file: its name, the split it belongs to and the rows of each of its row groups."""

    file: str
    split: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """What `dataset.json` says.

    Attributes:
        format_version: Layout of the folder; another version is refused.
        source: The source as the user wrote it.
        class_names: One name per label.
        counts: Images per split.
        channels: 1 if every image is gray, else 3.
        image_size: (height, width) if all images have the same size, else None.
        mean: Per-channel mean of the train split in 0..1, every image weighing the same.
        std: Per-channel standard deviation of the train split.
        gray_mean: The same for the images turned to gray (one value).
        gray_std: The same for the images turned to gray (one value).
        validation_fraction: Share of all images cut off for validation; None where the source brought its own.
        test_fraction: Share of all images cut off for test; None where the source brought its own.
        seed: Seed of the split and of the order of the rows.
        rows_per_group: Rows of a full row group.
        listing: Cheap fingerprint of the source (names, sizes, times); it changes when a copy is made.
        content: Fingerprint of every image and label in the source's order; it changes when the content does.
        fingerprint: Fingerprint of the data set: content, split and layout.
        shards: The files.
    """

    format_version: int
    source: str
    class_names: tuple[str, ...]
    counts: dict[str, int]
    channels: int
    image_size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gray_mean: float
    gray_std: float
    validation_fraction: float | None
    test_fraction: float | None
    seed: int
    rows_per_group: int
    listing: str
    content: str
    fingerprint: str
    shards: tuple[Shard, ...]

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.class_names)

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation for images brought to `channels` channels (1 or 3)."""
        if channels == self.channels:
            return self.mean, self.std
        if channels == 1:
            return (self.gray_mean,), (self.gray_std,)
        return self.mean * 3, self.std * 3

    def to_json(self) -> str:
        """Return the text of `dataset.json`."""
        values = asdict(self) | {"num_classes": self.num_classes}
        return json.dumps(values, indent=2) + "\n"


def read_manifest(root: Storage) -> Manifest:
    """Read `dataset.json` of a data set.

    Raises:
        InputError: If the folder holds no data set, or one of another format.
    """
    path = f"{root.uri}/{MANIFEST_NAME}"
    if not root.exists(MANIFEST_NAME):
        raise InputError(
            f"{root.uri}: no data set here ({MANIFEST_NAME} is missing); make one with: onepath data build"
        )
    try:
        values = root.read_json(MANIFEST_NAME)
        version = values["format_version"]
        if version == FORMAT_VERSION:
            return _from_values(values)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); remove the folder and build it again") from None
    raise InputError(
        f"{path}: format version {version}, this onepath reads {FORMAT_VERSION}; remove the folder and build it again"
    )


def _from_values(values: dict[str, Any]) -> Manifest:
    kept = {field.name: values[field.name] for field in fields(Manifest)}
    for name in ("class_names", "mean", "std"):
        kept[name] = tuple(kept[name])
    kept["image_size"] = tuple(kept["image_size"]) if kept["image_size"] else None
    kept["shards"] = tuple(Shard(s["file"], s["split"], tuple(s["rows"])) for s in kept["shards"])
    return Manifest(**kept)


def decode(encoded: bytes, channels: int | None, origin: str) -> Pixels:
    """Decode an image, upright, to 8-bit pixels.

    Args:
        encoded: Bytes of a PNG, JPEG or other file Pillow knows.
        channels: 1 (gray), 3 (RGB), or None for what the image itself is.
        origin: What to call the image in an error.

    Returns:
        Array of shape (channels, height, width).

    Raises:
        InputError: If the bytes are not an image, are cut short, or hold more than 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            opened.load()
            image = ImageOps.exif_transpose(opened)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{origin}: not a readable image ({error}); repair or remove the file") from None
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{origin}: image mode {image.mode!r} has more than 8 bits a channel; convert it to 8 bits")
    if channels is None:
        channels = 1 if image.mode in ("1", "L", "LA") else 3
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels[np.newaxis] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def encode_png(pixels: Pixels) -> bytes:
    """Encode 8-bit pixels, shape (height, width) or (height, width, 3), without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def to_gray(pixels: Pixels) -> Pixels:
    """Return pixels of shape (1 or 3, height, width) as gray, shape (1, height, width), the way `decode` does."""
    if len(pixels) == 1:
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).convert("L"))[np.newaxis]
