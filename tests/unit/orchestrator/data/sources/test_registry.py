"""The same images from every kind of source make the same shards, bit for bit."""

import csv
import io
import json
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.data.build import build
from orchestrator.data.pixels import encode_png
from supernet.errors import InputError

NAMES = ["0 - zero", "1 - one", "2 - two", "3 - three", "4 - four"]
NAMES += ["5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine"]
Images = dict[str, list[tuple[np.ndarray, int]]]


def make_images() -> Images:
    random = np.random.default_rng(0)
    counts = {"train": 120, "test": 30}
    return {
        split: [(random.integers(0, 256, (28, 28), np.uint8), i % 10) for i in range(count)]
        for split, count in counts.items()
    }


def write_torchvision(images: Images, root: Path) -> str:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, name in (("train", "train"), ("test", "t10k")):
        pixels = np.stack([image for image, _ in images[split]])
        labels = np.array([label for _, label in images[split]], np.uint8)
        header = struct.pack(">iiii", 0x803, len(pixels), 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 0x801, len(labels)) + labels.tobytes())
    return f"torchvision:MNIST:{root}"


def write_parquet(images: Images, root: Path) -> str:
    root.mkdir()
    features = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
    for split, members in images.items():
        rows = {"image": [{"bytes": encode_png(i), "path": None} for i, _ in members], "label": [n for _, n in members]}
        table = pa.table(rows).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet", row_group_size=50)
    return str(root)


def write_tar(images: Images, root: Path) -> str:
    root.mkdir()
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    for split, members in images.items():
        with tarfile.open(root / f"mnist-{split}-0000.tar", "w") as archive:
            for number, (image, label) in enumerate(members):
                for name, content in (
                    (f"{number:05d}.cls", str(label).encode()),
                    (f"{number:05d}.png", encode_png(image)),
                ):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return str(root)


def write_folder(images: Images, root: Path) -> str:
    for split, members in images.items():
        for number, (image, label) in enumerate(members):
            file = root / split / NAMES[label] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode_png(image))
    return str(root)


def write_csv(images: Images, root: Path) -> str:
    folder = Path(write_folder(images, root))
    with (root / "all.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "label", "path"])
        for path in sorted(folder.rglob("*.png"), reverse=True):
            split, name, _ = path.relative_to(folder).parts
            writer.writerow([split, name, path.relative_to(folder)])
    return str(root / "all.csv")


WRITERS: dict[str, Callable[[Images, Path], str]] = {
    "parquet": write_parquet,
    "tar": write_tar,
    "folder": write_folder,
    "csv": write_csv,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_layout_gives_the_same_shards_bit_for_bit(tmp_path: Path, kind: str) -> None:
    expected = build(write_torchvision(make_images(), tmp_path / "torchvision"), tmp_path / "a", rows_per_group=20)
    found = build(WRITERS[kind](make_images(), tmp_path / kind), tmp_path / "b", rows_per_group=20)
    assert found.fingerprint == expected.fingerprint
    names = sorted(file.name for file in (tmp_path / "a").glob("*.parquet"))
    assert [shard.file for shard in found.shards] == [shard.file for shard in expected.shards]
    assert sorted(shard.file for shard in found.shards) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_unknown_source_says_what_is_possible(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such folder; a data source is 'digits', .*torchvision:.*\.csv.*\.tar"):
        build(str(tmp_path / "absent"), tmp_path / "d")
