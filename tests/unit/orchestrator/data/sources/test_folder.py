"""Folders of images with whatever people and attackers leave in them."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.data.build import build
from orchestrator.data.pixels import MAX_MIB
from orchestrator.data.sources.registry import open_source
from supernet.errors import InputError


def image_folder(root: Path) -> Path:
    random = np.random.default_rng(0)
    for label in range(2):
        (root / f"c{label}").mkdir(parents=True)
        for number in range(8):
            Image.fromarray(random.integers(0, 256, (6, 5, 3), np.uint8)).save(root / f"c{label}" / f"{number}.png")
    return root


def png_of_size(width: int, height: int) -> bytes:
    """Return the head of a PNG that says how large it is, and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def refused(source: Path, out: Path, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(str(source), out)
    assert build(str(source), out, max_corrupt=1).counts["train"] == 12


def test_an_image_too_large_to_decode_is_refused_by_its_header(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src")
    (source / "c0" / "big.png").write_bytes(png_of_size(15000, 10000))
    refused(source, tmp_path / "d", r"c0/big\.png: 15000 x 10000 pixels, at most 64 million are read")


def test_a_sparse_file_is_refused_by_its_size(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src")
    (source / "c0" / "sparse.png").write_bytes(png_of_size(10, 10))
    os.truncate(source / "c0" / "sparse.png", 6 * 2**30)
    refused(source, tmp_path / "d", rf"c0/sparse\.png: 6,144 MiB, at most {MAX_MIB} are read")


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src")
    os.mkfifo(source / "c0" / "pipe.png")
    refused(source, tmp_path / "d", r"c0/pipe\.png: no regular file")


def test_a_device_is_not_read(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src")
    (source / "c0" / "zero.png").symlink_to("/dev/zero")
    refused(source, tmp_path / "d", r"c0/zero\.png: no regular file")


def test_a_dangling_link_is_named(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src")
    (source / "c0" / "lost.png").symlink_to("nowhere.png")
    (source / "notes.txt").symlink_to("nowhere.txt")
    refused(source, tmp_path / "d", r"c0/lost\.png: cannot be read \(No such file or directory\)")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src")
    (Path(os.fsdecode(os.fsencode(source) + b"/n\xf6tes.txt"))).write_text("x")
    (source / "c0" / "0.png").rename(os.fsdecode(os.fsencode(source) + b"/c0/\xe4.png"))
    assert sum(build(str(source), tmp_path / "d").counts.values()) == 16
    (Path(os.fsdecode(os.fsencode(source) + b"/c0/\xff.png"))).write_bytes(b"no image")
    refused(source, tmp_path / "e", r"c0/\\xff\.png: not a readable image")
    (source / "c1").rename(os.fsdecode(os.fsencode(source) + b"/c\xe41"))
    with pytest.raises(InputError, match=r"c\\xe41: the name of a class must be UTF-8; rename the folder"):
        build(str(source), tmp_path / "f")


def test_formats_that_start_programs_are_not_opened(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src")
    (source / "c0" / "program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    refused(source, tmp_path / "d", r"c0/program\.png: not a readable image")


def test_three_splits_are_kept_as_they_are(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        image_folder(tmp_path / "src" / split)
    manifest = build(str(tmp_path / "src"), tmp_path / "d")
    assert manifest.counts == {"train": 16, "validation": 16, "test": 16}
    assert (manifest.validation_fraction, manifest.test_fraction) == (None, None)
    assert manifest.origin.num_duplicates == 32


def test_links_to_folders_are_followed_and_count_as_what_they_lead_to(tmp_path: Path) -> None:
    image_folder(tmp_path / "all")
    (tmp_path / "some").mkdir()
    for name in ("c0", "c1"):
        (tmp_path / "some" / name).symlink_to(tmp_path / "all" / name)
    (tmp_path / "all" / "c0" / "more").mkdir()
    (tmp_path / "all" / "c0" / "more" / "back").symlink_to(tmp_path / "all")
    assert sum(build(str(tmp_path / "some"), tmp_path / "d").counts.values()) == 16
    Image.new("RGB", (6, 5)).save(tmp_path / "all" / "c0" / "more" / "new.png")
    with pytest.raises(InputError, match="built from other images"):
        build(str(tmp_path / "some"), tmp_path / "d")


def laid_out(root: Path, *files: str) -> str:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5)).save(root / file)
    return str(root)


@pytest.mark.parametrize(
    ("train", "others"),
    [
        ("training", {"testing": "test"}),
        ("Train", {"Test": "test"}),
        ("TRAIN", {"Val": "validation", "Test": "test"}),
        ("train", {"eval": "validation", "testing": "test"}),
        ("train", {"Valid": "test"}),  # of two held-out splits, a single one is the test
    ],
)
def test_folders_of_splits_go_by_every_usual_name(tmp_path: Path, train: str, others: dict[str, str]) -> None:
    folders = {train: "train"} | others
    source = open_source(
        laid_out(tmp_path, *(f"{f}/{c}/{i}.png" for f in folders for c in ("cat", "dog") for i in "12"))
    )
    assert source.class_names == ("cat", "dog")
    assert {split: len(rows) for split, rows in source.parts.items()} == dict.fromkeys(folders.values(), 4)


def test_a_class_may_be_called_as_a_split_and_hold_its_images_in_a_folder(tmp_path: Path) -> None:
    source = open_source(laid_out(tmp_path / "a", "bus/1.png", "train/1.png", "val/1.png"))
    assert source.class_names == ("bus", "train", "val")
    source = open_source(laid_out(tmp_path / "b", "cat/images/1.png", "dog/images/1.png"))
    assert source.class_names == ("cat", "dog")
    source = open_source(laid_out(tmp_path / "c", "cat/1.png", "dog/small/1.png", "dog/large/1.png"))
    assert (source.class_names, len(source.parts["train"])) == (("cat", "dog"), 3)
    laid_out(tmp_path / "d", "train/cat/1.png", "train/dog/1.png", "test/1.png", "__MACOSX/cat/._1.png")
    assert list(open_source(str(tmp_path / "d")).parts) == ["train"], "a split without labels is left out"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ("images/cat/1.png", "images/dog/1.png"),
            r"/images: not a class by the look of it: .* \(cat, dog\); name the",
        ),
        (("a/cat/1.png", "a/dog/1.png", "b/cat/2.png"), r"/a: not a class .* such as /.*/a, or put the images of each"),
        (("all/train/cat/1.png", "all/test/cat/2.png"), r"/all: not a class .* \(test, train\); name the folder"),
        (("cat/1.png",), r"a single class \(cat\), .*two or more are wanted"),
        (
            ("train/cat/1.png", "train/dog/1.png", "dev/cat/2.png"),
            r"/dev: holds images, and is no split: .* train, .*\. train beside it is one",
        ),
        (
            ("train/cat/1.png", "train/dog/1.png", "val/cat/2.png", "eval/cat/3.png"),
            r"/val: the validation .* as eval is",
        ),
        (("train/cat/1.png", "train/dog/1.png", "train/2.png"), r"/train: images beside folders, .* one folder per cl"),
        (("val/cat/1.png", "test/cat/2.png"), r"no class folders to train on"),
    ],
)
def test_folders_that_cannot_be_meant_so_are_refused(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(laid_out(tmp_path, *files))
