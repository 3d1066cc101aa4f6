"""torchvision data sets from local files."""

import struct
from pathlib import Path

import numpy as np
from data_cases import FRACTIONS, rows_of

from orchestrator.data.build import build
from orchestrator.data.pixels import decode


def test_torchvision_reads_local_files(tmp_path: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    written = {}
    for name, count in (("train", 40), ("t10k", 20)):
        images, labels = random.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
        header = struct.pack(">iiii", 0x803, count, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 0x801, count) + labels.tobytes())
        written[name] = sorted((i.tobytes(), int(label)) for i, label in zip(images, labels, strict=True))
    manifest = build(f"torchvision:MNIST:{tmp_path / 'data'}", tmp_path / "d", **FRACTIONS)
    assert manifest.counts == {"train": 30, "validation": 10, "test": 20}
    assert manifest.class_names[0] == "0 - zero"
    assert (manifest.channels, manifest.image_size) == (1, (28, 28))
    test = sorted((decode(image, None, "").tobytes(), label) for image, label in rows_of(tmp_path / "d", "test"))
    assert test == written["t10k"]
    rest = rows_of(tmp_path / "d", "train") + rows_of(tmp_path / "d", "validation")
    assert sorted((decode(image, None, "").tobytes(), label) for image, label in rest) == written["train"]
