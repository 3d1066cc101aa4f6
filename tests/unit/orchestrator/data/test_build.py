"""Building a data set: from every kind of source, statistics, reuse, refusals."""

import io
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from data_cases import FRACTIONS, image_folder, rows_of
from PIL import Image
from sklearn.datasets import load_digits

from orchestrator.data.build import build
from orchestrator.data.format import read_manifest
from orchestrator.data.pixels import decode
from orchestrator.data.storage import Storage
from orchestrator.plan.config import DataConfig
from supernet.errors import InputError


def test_digits_are_kept_without_loss(tmp_path: Path) -> None:
    manifest = build("digits", tmp_path / "d", rows_per_group=100, groups_per_file=4, **FRACTIONS)
    assert manifest == read_manifest(Storage(str(tmp_path / "d")))
    assert (manifest.num_classes, manifest.channels, manifest.image_size) == (10, 1, (8, 8))
    assert sum(manifest.counts.values()) == 1797
    seen = [row for split in manifest.counts for row in rows_of(tmp_path / "d", split)]
    found = sorted((decode(image, None, "").tobytes(), label) for image, label in seen)
    loaded = load_digits()
    original = np.round(loaded.images * 255 / 16).astype(np.uint8)
    assert found == sorted((i.tobytes(), int(label)) for i, label in zip(original, loaded.target, strict=True))
    assert len([s for s in manifest.shards if s.split == "train"]) == 3
    assert [sum(s.rows) for s in manifest.shards if s.split == "train"][:2] == [400, 400]


def test_statistics_are_those_of_the_train_split(tmp_path: Path) -> None:
    manifest = build(str(image_folder(tmp_path / "src")), tmp_path / "d", **FRACTIONS)
    images = [np.asarray(Image.open(io.BytesIO(i)).convert("RGB")) for i, _ in rows_of(tmp_path / "d", "train")]
    pixels = np.stack(images).reshape(-1, 3) / 255
    np.testing.assert_allclose(manifest.mean, pixels.mean(0), atol=1e-12)
    np.testing.assert_allclose(manifest.std, pixels.std(0), atol=1e-12)
    gray = np.stack([np.asarray(Image.fromarray(i).convert("L")) for i in images]) / 255
    assert manifest.normalisation(1) == ((pytest.approx(gray.mean()),), (pytest.approx(gray.std()),))
    assert manifest.normalisation(3) == (manifest.mean, manifest.std)


def test_folder_keeps_original_bytes_and_mixed_sizes(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src", gray=True)
    Image.new("RGB", (9, 9)).save(source / "class1" / "extra.png")
    manifest = build(str(source), tmp_path / "d", **FRACTIONS)
    assert manifest.class_names == ("class0", "class1", "class2")
    assert (manifest.channels, manifest.image_size) == (3, None)
    original = sorted((p.read_bytes(), int(p.parent.name[-1])) for p in source.rglob("*.*"))
    assert sorted(row for split in manifest.counts for row in rows_of(tmp_path / "d", split)) == original


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_given_test_split_is_kept(tmp_path: Path, test_name: str) -> None:
    image_folder(tmp_path / "src" / "train")
    image_folder(tmp_path / "src" / test_name, classes=2, each=3)
    manifest = build(str(tmp_path / "src"), tmp_path / "d", **FRACTIONS)
    assert manifest.counts == {"train": 18, "validation": 6, "test": 6}
    assert manifest.test_fraction is None
    held = sorted(p.read_bytes() for p in (tmp_path / "src" / test_name).rglob("*.*"))
    assert sorted(image for image, _ in rows_of(tmp_path / "d", "test")) == held
    (tmp_path / "src" / test_name / "class7").mkdir()
    with pytest.raises(InputError, match=r"class7: class 'class7' is not in train; did you mean 'class"):
        build(str(tmp_path / "src"), tmp_path / "e", **FRACTIONS)


def test_same_inputs_reuse_the_folder_and_others_are_refused(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src")
    first = build(str(source), tmp_path / "d", **FRACTIONS)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "d").iterdir()}
    assert build(str(source), tmp_path / "d", **FRACTIONS) == first
    moved = shutil.copytree(source, tmp_path / "copy", copy_function=shutil.copyfile)  # other times, same images
    assert build(str(moved), tmp_path / "d", **FRACTIONS) == first
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "d").iterdir()} == before
    with pytest.raises(InputError, match="built with seed 0, not 1; remove the folder or choose another"):
        build(str(source), tmp_path / "d", **FRACTIONS | {"seed": 1})
    with pytest.raises(InputError, match=r"validation_fraction 0\.25, not 0\.2"):
        build(str(source), tmp_path / "d", **FRACTIONS | {"validation_fraction": 0.2})
    Image.new("RGB", (6, 5)).save(source / "class0" / "1.png")
    with pytest.raises(InputError, match=r"built from other images.*another --storage"):
        build(str(source), tmp_path / "d", **FRACTIONS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match=r"no data set here \(dataset.json is missing\)"):
        build(str(source), tmp_path / "mine", **FRACTIONS)


def test_renamed_class_changes_content(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src")
    first = build(str(source), tmp_path / "a", **FRACTIONS)
    (source / "class2").rename(source / "class9")
    second = build(str(source), tmp_path / "b", **FRACTIONS)
    assert first.content != second.content
    assert first.fingerprint != second.fingerprint


def test_corrupt_images_are_all_listed_and_left_out_only_if_allowed(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src")
    broken = source / "class1" / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    (source / "class2" / "0.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"2 corrupt images, 1 are allowed") as caught:
        build(str(source), tmp_path / "d", max_corrupt=1, **FRACTIONS)
    assert "class1/3.png: not a readable image" in str(caught.value)
    assert "class2/0.jpg: no image, 0 bytes" in str(caught.value)
    assert f"data build {source} FOLDER --max-corrupt 2` leaves them out" in str(caught.value)
    assert "as its data.source" in str(caught.value), "a sweep has no such option"
    assert not (tmp_path / "d").exists()
    manifest = build(str(source), tmp_path / "d", max_corrupt=2, **FRACTIONS)
    assert sum(manifest.counts.values()) == 22
    assert len(manifest.origin.corrupt) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "src"]


@pytest.mark.parametrize("stage", ["looking", "writing"])
def test_a_stopped_build_continues_and_ends_the_same(tmp_path: Path, stage: str) -> None:
    """Nothing that was looked at or written is done again: the images' files are gone by then, or unchanged."""
    source = image_folder(tmp_path / "src", classes=2, each=400)
    whole = build(str(source), tmp_path / "whole", rows_per_group=20, groups_per_file=2, **FRACTIONS)

    class Stopped(Exception):
        pass

    def stop(phase: str, done: int, total: int) -> None:
        if phase == stage and done >= total // 2:
            raise Stopped

    with pytest.raises(Stopped):
        build(str(source), tmp_path / "d", rows_per_group=20, groups_per_file=2, progress=stop, **FRACTIONS)
    work = tmp_path / ".d.building"
    kept = {
        p.relative_to(work): p.stat().st_mtime_ns for p in work.rglob("*.parquet" if stage == "writing" else "*.npz")
    }
    assert kept
    assert not (tmp_path / "d").exists()

    def untouched(phase: str, done: int, total: int) -> None:
        assert {name: (work / name).stat().st_mtime_ns for name in kept} == kept

    again = build(str(source), tmp_path / "d", rows_per_group=20, groups_per_file=2, progress=untouched, **FRACTIONS)
    assert again == whole
    assert not work.exists()


def test_who_waits_for_another_builder_takes_what_that_one_has_built(tmp_path: Path) -> None:
    source, waiting, results = str(image_folder(tmp_path / "src")), threading.Event(), []
    second = threading.Thread(target=lambda: results.append(build(source, tmp_path / "d", **FRACTIONS)))

    def hold(phase: str, done: int, total: int) -> None:
        if not waiting.is_set():
            waiting.set()
            second.start()
            time.sleep(0.3)  # until it waits for the lock

    first = build(source, tmp_path / "d", progress=hold, **FRACTIONS)
    second.join()
    assert results == [first]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "src"]


def test_bad_sources_are_refused_with_place_and_remedy(tmp_path: Path) -> None:
    def refused(source: str, message: str, **changed: float) -> None:
        with pytest.raises(InputError, match=message):
            build(source, tmp_path / "d", **FRACTIONS | changed)
        assert not (tmp_path / "d").exists()

    refused(str(tmp_path / "absent"), r"no folder '.*absent'; a data source is one of digits, ")
    (tmp_path / "empty").mkdir()
    refused(str(tmp_path / "empty"), r"no class folders to train on; images are expected as .*/<class>/\*\.png")
    (tmp_path / "empty" / "cat").mkdir()
    refused(str(tmp_path / "empty"), r"cat: no images \(\.png, ")
    refused(str(image_folder(tmp_path / "few", each=2)), "class 'class0': 2 images are too few")
    refused("torchvision:MNISt:x", "unknown torchvision data set 'MNISt'; did you mean 'MNIST'")
    refused("torchvision:MNIST", "expected torchvision:<Dataset>:<folder>")
    refused("digits", r"test_fraction 1\.0: must lie between 0 and 1", test_fraction=1.0)
    refused("digits", "nothing is left to train on", test_fraction=0.8)
    deep = image_folder(tmp_path / "deep")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(deep / "class0" / "0.png")
    refused(str(deep), "class0/0.png: image mode 'I;16' has more than 8 bits")
    with pytest.raises(InputError, match="lies inside its own source"):
        build(str(deep), deep / "out", **FRACTIONS)


def test_photos_are_decoded_upright(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, :3] = 255
    tag = Image.Exif()
    tag[0x0112] = 6  # turn by 90 degrees clockwise to display
    Image.fromarray(pixels).save(tmp_path / "p.png", exif=tag)
    upright = decode((tmp_path / "p.png").read_bytes(), None, "")
    assert upright.shape == (3, 6, 4)
    assert (upright[:, :3] == 255).all()
    assert (upright[:, 3:] == 0).all()


def test_progress_counts_to_the_end_of_each_phase(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    build("digits", tmp_path / "d", **FRACTIONS, progress=lambda *news: seen.append(news))
    assert seen == sorted(seen)
    assert [news for news in seen if news[1] == news[2]] == [("looking", 1797, 1797), ("writing", 1797, 1797)]


def test_processes_make_the_same_shards(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src", classes=2, each=300)
    alone = build(str(source), tmp_path / "a", **FRACTIONS, rows_per_group=50, num_processes=1)
    assert build(str(source), tmp_path / "b", **FRACTIONS, rows_per_group=50, num_processes=2) == alone


def test_defaults_of_the_command_and_of_a_sweep_are_one(tmp_path: Path) -> None:
    manifest = build("digits", tmp_path / "d")
    sweep = DataConfig(source="digits")
    assert (manifest.validation_fraction, manifest.test_fraction) == (sweep.validation_fraction, sweep.test_fraction)


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file: is a file; choose another place"):
        build("digits", tmp_path / "file")
    with pytest.raises(InputError, match="file/d: cannot be made"):
        build("digits", tmp_path / "file" / "d")
    with pytest.raises(InputError, match="seed -1, max_corrupt 0: both must be 0 or more"):
        build("digits", tmp_path / "d", seed=-1)
