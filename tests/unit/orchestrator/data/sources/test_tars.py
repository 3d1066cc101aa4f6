"""Tar files: labels of every kind, and refusals that name the member."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from orchestrator.data.build import build
from orchestrator.data.pixels import encode_png
from orchestrator.data.sources.registry import open_source
from supernet.errors import InputError


def png(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (5, 4, 3), np.uint8))


def write(file: Path, members: dict[str, bytes]) -> None:
    file.parent.mkdir(exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_labels_in_json_and_in_folders(tmp_path: Path) -> None:
    write(
        tmp_path / "a" / "x.tar",
        {"0.png": png(0), "0.json": b'{"label": 1}', "1.json": b'{"label": 0}', "1.png": png(1)},
    )
    source = open_source(str(tmp_path / "a"))
    assert source.class_names == ("0", "1")
    rows = source.parts["train"]
    assert [(source.read(rows[i]), rows[i].label) for i in range(2)] == [(png(0), 1), (png(1), 0)]
    write(tmp_path / "b" / "x.tar", {f"set/{'dog' if i % 2 else 'cat'}/{i}.png": png(i) for i in range(6)})
    source = open_source(str(tmp_path / "b"))
    assert source.class_names == ("cat", "dog")
    assert [row.label for row in source.parts["train"]] == [0, 1] * 3


def test_json_beside_a_cls_or_of_another_name_holds_no_label(tmp_path: Path) -> None:
    """Said before: no label in it, of metadata such as an id."""
    of_one = {"json": b'{"id": 3}', "cls": b"1", "png": png(1), "meta.json": b"{}"}
    write(tmp_path / "src" / "x.tar", {f"0.{kind}": of_one[kind] for kind in of_one} | {"1.cls": b"0", "1.png": png(0)})
    assert [row.label for row in open_source(str(tmp_path / "src")).parts["train"]] == [1, 0]


def test_a_corrupt_member_is_named(tmp_path: Path) -> None:
    members = {f"c{i % 2}/{i}.png": png(i) for i in range(40)}
    write(tmp_path / "src" / "x.tar", members | {"c1/7.png": b"no image"})
    with pytest.raises(InputError, match=r"x\.tar, c1/7\.png: not a readable image"):
        build(str(tmp_path / "src"), tmp_path / "d")
    assert sum(build(str(tmp_path / "src"), tmp_path / "d", max_corrupt=1).counts.values()) == 39


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"0.png": png(0)}, r"x\.tar, 0\.png: no label; expected a \.cls or \.json"),
        ({"c/0.png": b""}, r"x\.tar, c/0\.png: no image, 0 bytes"),
        ({"0.png": png(0), "0.json": b'{"name": 1}'}, r"x\.tar, 0\.json: no label in it"),
        ({"c/0.png": png(0), "c/0.json": b'{"name": 1}'}, r"x\.tar, c/0\.json: no label in it"),
        (
            {"0.png": png(0), "0.mask.png": png(1), "0.cls": b"1"},
            r"x\.tar, 0\.mask\.png: a second image of '0', beside 0",
        ),
        ({"0.png": png(0), "0.json": b"[" * 10**5}, r"x\.tar, 0\.json: no label in it"),
    ],
)
def test_samples_without_label_or_image_are_refused(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    write(tmp_path / "src" / "x.tar", members)
    with pytest.raises(InputError, match=message):
        open_source(str(tmp_path / "src"))


def test_a_damaged_or_compressed_tar_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "src" / "x.tar", {f"c/{i}.png": png(i) for i in range(9)})
    whole = (tmp_path / "src" / "x.tar").read_bytes()
    (tmp_path / "src" / "x.tar").write_bytes(b"\x1f\x8b" + whole[2:])
    with pytest.raises(InputError, match=r"x\.tar: not a readable uncompressed tar"):
        open_source(str(tmp_path / "src"))
