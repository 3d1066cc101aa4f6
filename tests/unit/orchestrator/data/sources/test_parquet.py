"""Parquet files as Hugging Face lays them out: splits, names, both shapes of the image column, refusals."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.data.build import build
from orchestrator.data.pixels import encode_png
from orchestrator.data.sources.registry import open_source
from supernet.errors import InputError


def images(count: int, seed: int = 0) -> list[bytes]:
    random = np.random.default_rng(seed)
    return [encode_png(random.integers(0, 256, (6, 5, 3), np.uint8)) for _ in range(count)]


def write(
    file: Path, encoded: list[bytes], labels: list, *, names: list[str] | None = None, struct: bool = True
) -> None:
    column = [{"bytes": image, "path": None} for image in encoded] if struct else encoded
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if struct else pa.binary()
    table = pa.table({"img": pa.array(column, kind), "label": labels})
    if names:
        features = {"img": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(exist_ok=True)
    pq.write_table(table, file, row_group_size=7)


@pytest.mark.parametrize("struct", [True, False])
def test_images_are_kept_as_they_are_and_named_by_the_metadata(tmp_path: Path, struct: bool) -> None:
    encoded, labels = images(20), [i % 2 for i in range(20)]
    write(tmp_path / "src" / "train-00000-of-00002.parquet", encoded[:15], labels[:15], names=["b", "a"], struct=struct)
    write(tmp_path / "src" / "train-00001-of-00002.parquet", encoded[15:], labels[15:], names=["b", "a"], struct=struct)
    write(tmp_path / "src" / "test-00000-of-00001.parquet", images(4, 1), [1, 0, 1, 0], struct=struct)
    source = open_source(str(tmp_path / "src"))
    assert source.class_names == ("b", "a")
    train = source.parts["train"]
    assert [source.read(train[i]) for i in range(20)] == encoded
    assert [row.label for row in train] == labels
    assert [row.label for row in source.parts["test"]] == [1, 0, 1, 0]
    manifest = build(str(tmp_path / "src"), tmp_path / "d", validation_fraction=0.2)
    assert manifest.counts == {"train": 16, "validation": 4, "test": 4}


def test_without_metadata_labels_name_themselves(tmp_path: Path) -> None:
    write(tmp_path / "words" / "train.parquet", images(4), ["dog", "cat", "dog", "cat"])
    assert open_source(str(tmp_path / "words")).class_names == ("cat", "dog")
    write(tmp_path / "numbers" / "train.parquet", images(4), [0, 2, 0, 2])
    assert open_source(str(tmp_path / "numbers")).class_names == ("0", "1", "2")


def test_refusals_name_file_and_row(tmp_path: Path) -> None:
    def refused(name: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            build(str(tmp_path / name), tmp_path / "d")

    write(tmp_path / "range" / "train.parquet", images(10), [0] * 8 + [7, 0], names=["a", "b"])
    refused("range", r"train\.parquet, row group 1, row 1: label 7 is none of the 2 classes")
    write(tmp_path / "only" / "test.parquet", images(2), [0, 1])
    refused("only", "no images of a train split; found test")
    write(tmp_path / "empty" / "train.parquet", [b"", *images(19)], [0, 1] * 10)
    refused("empty", r"train\.parquet, row group 0, row 0: no image, 0 bytes")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "train.parquet").write_bytes((tmp_path / "range" / "train.parquet").read_bytes()[:300])
    refused("cut", r"train\.parquet: not a readable Parquet file")
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "cut" / "train.parquet")
    refused("cut", "columns x; expected one column of images")
