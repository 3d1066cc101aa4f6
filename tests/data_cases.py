"""Data sets as rows, and folders of images, for the tests of the data room."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from orchestrator.data.format import read_manifest
from orchestrator.data.storage import Storage

FRACTIONS = {"validation_fraction": 0.25, "test_fraction": 0.25, "seed": 0}


def rows_of(root: Path, split: str) -> list[tuple[bytes, int]]:
    manifest = read_manifest(Storage(str(root)))
    rows: list[tuple[bytes, int]] = []
    for shard in manifest.shards:
        if shard.split == split:
            table = pq.read_table(root / shard.file)
            rows += zip(table["image"].to_pylist(), table["label"].to_pylist(), strict=True)
    return rows


def image_folder(root: Path, *, classes: int = 3, each: int = 8, gray: bool = False) -> Path:
    random = np.random.default_rng(0)
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        for number in range(each):
            pixels = random.integers(0, 256, (6, 5) if gray else (6, 5, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.{'png' if number % 2 else 'jpg'}")
    return root


SHARD = "train-00000.parquet"


def rewrite(root: Path, **columns: list) -> None:
    table = pq.read_table(root / SHARD)
    changed = {name: columns.get(name, table[name].to_pylist()) for name in table.column_names}
    pq.write_table(pa.table(changed, schema=table.schema), root / SHARD, row_group_size=100, compression="none")


def column(root: Path, name: str) -> list:
    return pq.read_table(root / SHARD)[name].to_pylist()
