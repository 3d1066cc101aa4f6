"""The manifest: what it says is checked when it is read."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.data.build import build
from orchestrator.data.format import MANIFEST_NAME, read_manifest
from orchestrator.data.storage import Storage
from supernet.errors import InputError


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "digits"
    build("digits", root)
    return root


def changed(digits: Path, tmp_path: Path, **changes: Any) -> Storage:
    plain = json.loads((digits / MANIFEST_NAME).read_text()) | changes
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(plain))
    return Storage(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format version 99, this onepath reads 2; remove the folder and build it again"),
        ({"std": [-1.0]}, r"dataset\.json\.std\[0\]: -1\.0: .*greater than 0"),
        ({"std": [0.0]}, r"std\[0\]: 0\.0: .*greater than 0"),
        ({"std": [float("nan")]}, "NaN is no JSON number"),
        ({"mean": [0.1, 0.2]}, "mean and std must have 1 values, one per channel"),
        ({"mean": [0.1]}, "fingerprint '[0-9a-f]*' is not that of the content"),
        ({"seed": 7}, "fingerprint '[0-9a-f]*' is not that of the content"),
        ({"seed": 7, "fingerprint": ""}, r"dataset\.json\.fingerprint: missing"),
        ({"class_names": []}, "class_names"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"shards": []}, "the shards of train do not hold the 1439 images"),
        (
            {"shards": [{"file": "../../evil.parquet", "split": "train", "rows": [1], "digests": [""]}]},
            r"shards\[0\]\.file: '\.\./\.\./evil\.parquet'",
        ),
    ],
)
def test_a_changed_manifest_is_refused(digits: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_manifest(changed(digits, tmp_path, **changes))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe{}", b'{"format_version": 2}', b"[" * 10**5]
)
def test_a_damaged_manifest_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(InputError, match=r"dataset\.json"):
        read_manifest(Storage(str(tmp_path)))


def test_where_it_came_from_is_no_part_of_what_it_is(digits: Path, tmp_path: Path) -> None:
    origin = {"source": "elsewhere", "listing": "0"}
    assert (
        read_manifest(changed(digits, tmp_path, origin=origin)).fingerprint
        == read_manifest(Storage(str(digits))).fingerprint
    )
