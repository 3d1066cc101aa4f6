"""Shards: whatever is changed or damaged is found when it is read, with shard and row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_cases import SHARD, column, rewrite

from orchestrator.data.batches import ImageData
from orchestrator.data.check import check
from orchestrator.data.storage import Storage
from supernet.errors import RunError


def refused(root: Path, message: str) -> None:
    data = ImageData(root, input_size=(1, 8, 8), seed=0)
    with pytest.raises(RunError, match=message):
        list(data.once("train", 100))
    faults = check(Storage(str(root)), num_processes=1)[1]
    assert faults


def test_a_label_out_of_range_is_named_by_shard_and_row(digits: Path) -> None:
    labels = column(digits, "label")
    labels[103] = 10
    rewrite(digits, label=labels)
    refused(digits, rf"{SHARD}, row group 1, row 3: label 10 is none of the 10 classes")


def test_labels_that_were_swapped_are_found(digits: Path) -> None:
    labels = column(digits, "label")
    rewrite(digits, label=labels[::-1])
    refused(digits, rf"{SHARD}, row group 0: labels or images were changed or damaged")


def test_an_image_of_no_bytes_is_named_by_shard_and_row(digits: Path) -> None:
    images = column(digits, "image")
    images[205] = b""
    rewrite(digits, image=images)
    refused(digits, rf"{SHARD}, row group 2, row 5: no image, 0 bytes")


def test_another_image_is_found_though_it_decodes(digits: Path) -> None:
    images = column(digits, "image")
    images[0] = images[1]
    rewrite(digits, image=images)
    refused(digits, rf"{SHARD}, row group 0, row 0: the image was changed or damaged")


def test_a_wrong_schema_and_a_cut_file_are_refused(digits: Path) -> None:
    whole = (digits / SHARD).read_bytes()
    pq.write_table(pa.table({"label": [1]}), digits / SHARD)
    refused(digits, rf"{SHARD}: columns label int64, not image binary, label int32, digest")
    (digits / SHARD).write_bytes(whole[: len(whole) // 2])
    refused(digits, rf"{SHARD}, row group 0: cannot be read \(")
    (digits / SHARD).unlink()
    refused(digits, rf"{SHARD}, row group 0: cannot be read \(")


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bits_are_found_or_change_nothing(digits: Path, seed: int) -> None:
    """Wherever a bit flips in a shard, pages, index or schema: an error, or the same images and labels."""
    random = np.random.default_rng(seed)
    content = bytearray((digits / SHARD).read_bytes())
    place = int(random.integers(len(content))) if seed % 2 else len(content) - 1 - int(random.integers(2000))
    content[place] ^= 1 << int(random.integers(8))
    expected = pq.read_table(digits / SHARD).to_pydict()
    (digits / SHARD).write_bytes(content)
    if not check(Storage(str(digits)), num_processes=1)[1]:
        assert pq.read_table(digits / SHARD).to_pydict() == expected
