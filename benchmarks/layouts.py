"""Whether CIFAR-10 gives the same shards from every layout: `python -m benchmarks.layouts --images cifar10 --json`.

Its pictures are decoded once and laid out anew as torchvision keeps them (raw arrays), as Parquet, as tars, as folders
of images and as CSV with paths, the files of the last four with the bytes that the build makes of the first. The
manifest's fingerprint and every shard's bytes must agree. `--limit` takes the first so many images of each split.
"""

import argparse
import csv
import hashlib
import io
import json
import pickle
import struct
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torchvision.datasets import CIFAR10

from benchmarks.common import report, say
from benchmarks.macro.images import read_images
from orchestrator.data.build import build
from orchestrator.data.pixels import encode_png

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures in memory.

    Attributes:
        names: Of the classes, by label.
        splits: Pictures, uint8 of shape (H, W) or (H, W, 3), each with its label; `train` and `test`.
    """

    names: Sequence[str]
    splits: Mapping[str, Sequence[tuple[Picture, int]]]


def write_mnist(pictures: Pictures, root: Path) -> str:
    """Write grey pictures as torchvision keeps MNIST, whose class names these must have; return the source."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, name in (("train", "train"), ("test", "t10k")):
        pixels = np.stack([picture for picture, _ in pictures.splits[split]])
        labels = np.array([label for _, label in pictures.splits[split]], np.uint8)
        header = struct.pack(">iiii", 0x803, *pixels.shape)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 0x801, len(labels)) + labels.tobytes())
    return f"torchvision:MNIST:{root}"


def write_cifar10(pictures: Pictures, root: Path) -> str:
    """Write coloured pictures as torchvision keeps CIFAR-10; return the source, see `_unchecked`."""
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    (folder / CIFAR10.meta["filename"]).write_bytes(pickle.dumps({CIFAR10.meta["key"]: list(pictures.names)}))
    for split, files in (("train", CIFAR10.train_list), ("test", CIFAR10.test_list)):
        for (name, _), part in zip(
            files, np.array_split(np.arange(len(pictures.splits[split])), len(files)), strict=True
        ):
            members = [pictures.splits[split][number] for number in part]
            data = np.stack([picture for picture, _ in members]).transpose(0, 3, 1, 2).reshape(len(members), -1)
            (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [label for _, label in members]}))
    return f"torchvision:CIFAR10:{root}"


def write_parquet(pictures: Pictures, root: Path) -> str:
    """Write Parquet as data hubs do, class names in the schema's metadata; return the source."""
    root.mkdir()
    features = {"image": {"_type": "Image"}, "label": {"names": list(pictures.names), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for split, members in pictures.splits.items():
        rows = {
            "image": [{"bytes": encode_png(picture), "path": None} for picture, _ in members],
            "label": [label for _, label in members],
        }
        table = pa.table(rows).replace_schema_metadata(metadata)
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet", row_group_size=50)
    return str(root)


def write_tar(pictures: Pictures, root: Path) -> str:
    """Write a WebDataset tar per split; return the source."""
    root.mkdir()
    (root / "classes.txt").write_text("\n".join(pictures.names) + "\n")
    for split, members in pictures.splits.items():
        with tarfile.open(root / f"set-{split}-0000.tar", "w") as archive:
            for number, (picture, label) in enumerate(members):
                for name, content in (
                    (f"{number:05d}.cls", str(label).encode()),
                    (f"{number:05d}.png", encode_png(picture)),
                ):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return str(root)


def write_folder(pictures: Pictures, root: Path) -> str:
    """Write a folder of images per split and class; return the source."""
    for split, members in pictures.splits.items():
        for name in pictures.names:
            (root / split / name).mkdir(parents=True)
        for number, (picture, label) in enumerate(members):
            (root / split / pictures.names[label] / f"{number}.png").write_bytes(encode_png(picture))
    return str(root)


def write_csv(pictures: Pictures, root: Path) -> str:
    """Write a CSV file of paths into such a folder, in another order; return the source."""
    folder = Path(write_folder(pictures, root))
    with (root / "all.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "label", "path"])
        for path in sorted(folder.rglob("*.png"), reverse=True):
            split, name, _ = path.relative_to(folder).parts
            writer.writerow([split, name, path.relative_to(folder)])
    return str(root / "all.csv")


WRITERS: dict[str, Callable[[Pictures, Path], str]] = {
    "parquet": write_parquet,
    "tar": write_tar,
    "folder": write_folder,
    "csv": write_csv,
}


def digests(source: str, root: Path, *, rows_per_group: int) -> dict[str, str]:
    """Build a source and return the SHA-256 of every shard, and the manifest's fingerprint."""
    manifest = build(source, root, rows_per_group=rows_per_group)
    shards = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(root.glob("*.parquet"))}
    assert set(shards) == {shard.file for shard in manifest.shards}
    return {**shards, "fingerprint": manifest.fingerprint}


def _read(folder: Path, limit: int | None) -> Pictures:
    """Return CIFAR-10 as laid out on data hubs, decoded."""
    file = next(folder.glob("train-*.parquet"))
    described = json.loads(pq.read_schema(file).metadata[b"huggingface"])
    names = described["info"]["features"]["label"]["names"]
    splits = {}
    for split in ("train", "test"):
        images, labels = read_images(next(folder.glob(f"{split}-*.parquet")))
        pixels = images[:limit].permute(0, 2, 3, 1).contiguous().numpy()
        splits[split] = list(zip(pixels, labels[:limit].tolist(), strict=True))
    return Pictures(names, splits)


def _unchecked() -> None:
    """Have torchvision take files that were written here for CIFAR-10: their checksums are not the original's."""
    CIFAR10.train_list = [[name, None] for name, _ in CIFAR10.train_list]
    CIFAR10.test_list = [[name, None] for name, _ in CIFAR10.test_list]
    CIFAR10.meta = {**CIFAR10.meta, "md5": None}


def main() -> int:
    """Build all layouts, print what agreed, and return 1 if something did not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder with CIFAR-10 as Parquet")
    parser.add_argument("--limit", type=int, help="images of each split (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    asked = parser.parse_args()
    pictures = _read(asked.images, asked.limit)
    _unchecked()
    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="onepath-layouts-") as name:
        for kind, write in {"torchvision": write_cifar10, **WRITERS}.items():
            say(kind)
            root = Path(name) / kind
            found[kind] = digests(write(pictures, root), root.with_name(f"{kind}-shards"), rows_per_group=256)
    first = found["torchvision"]
    same = {kind: digest == first for kind, digest in found.items()}
    counts = {split: len(members) for split, members in pictures.splits.items()}
    result = {"images": counts, "shards": len(first) - 1, "fingerprint": first["fingerprint"], "same": same}
    report(result, as_json=asked.json)
    return 0 if all(same.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
