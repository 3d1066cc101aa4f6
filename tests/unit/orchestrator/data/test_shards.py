"""Shards: whatever is changed or damaged is found when it is read, with shard and row."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.data.batches import ImageData
from orchestrator.data.build import build
from orchestrator.data.check import check
from orchestrator.data.format import MANIFEST_NAME
from orchestrator.data.storage import Storage
from supernet.errors import RunError

SHARD = "train-00000.parquet"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "digits"
    build("digits", root, rows_per_group=100, groups_per_file=4)
    return root


@pytest.fixture
def digits(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "digits"))


def refused(root: Path, message: str) -> None:
    data = ImageData(root, input_size=(1, 8, 8), seed=0)
    with pytest.raises(RunError, match=message):
        list(data.once("train", 100))
    faults = check(Storage(str(root)), num_processes=1)[1]
    assert faults


def rewrite(root: Path, **columns: list) -> None:
    table = pq.read_table(root / SHARD)
    changed = {name: columns.get(name, table[name].to_pylist()) for name in table.column_names}
    pq.write_table(pa.table(changed, schema=table.schema), root / SHARD, row_group_size=100, compression="none")


def column(root: Path, name: str) -> list:
    return pq.read_table(root / SHARD)[name].to_pylist()


def test_a_sound_set_has_no_faults(digits: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    manifest, faults = check(Storage(str(digits)), num_processes=2, progress=lambda *news: seen.append(news))
    assert faults == []
    assert seen[-1] == ("checking", 1797, 1797)
    assert sum(manifest.counts.values()) == 1797


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


def test_check_lists_every_fault(digits: Path) -> None:
    images = column(digits, "image")
    images[3], images[250] = b"", b"x"
    rewrite(digits, image=images)
    (digits / "test-00000.parquet").unlink()
    faults = check(Storage(str(digits)), num_processes=1)[1]
    assert [line.removeprefix(f"{digits}/").split(":")[0] for line in faults] == [
        f"{SHARD}, row group 0, row 3",
        f"{SHARD}, row group 2, row 50",
        "test-00000.parquet, row group 0",
        "test-00000.parquet, row group 1",
    ]
    assert json.loads((digits / MANIFEST_NAME).read_text())["format_version"] == 2
