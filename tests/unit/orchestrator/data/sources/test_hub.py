"""Data sets of the hub: a stand-in offers the few functions of `datasets` that are called, on images made here."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from data_cases import FRACTIONS, rows_of

from orchestrator.data.build import build
from orchestrator.data.pixels import encode_png
from orchestrator.data.sources.hub import parse_hub
from supernet.errors import InputError, RunError


class Image(NamedTuple):
    decode: bool = True


class ClassLabel(NamedTuple):
    names: list[str]


class Part:
    """A split as `datasets.Dataset` shows itself: columns by name, rows by number, images as structs once cast."""

    def __init__(self, features: dict[str, Any], columns: dict[str, list[Any]]) -> None:
        self.features, self.columns, self._fingerprint = features, columns, str(len(next(iter(columns.values()))))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def select_columns(self, names: list[str]) -> "Part":
        return Part(*({name: kept[name] for name in names} for kept in (self.features, self.columns)))

    def cast_column(self, name: str, feature: Image) -> "Part":
        return Part({**self.features, name: feature}, self.columns)

    def __getitem__(self, key: int | slice) -> dict[str, Any]:
        assert not self.features.get("image", Image(decode=False)).decode, "images would be decoded"
        return {name: values[key] for name, values in self.columns.items()}


FEATURES = {"image": Image(), "label": ClassLabel(["cat", "dog"])}
ENCODED = [encode_png(np.full((6, 5, 3), number, np.uint8)) for number in range(40)]


def offer(monkeypatch: pytest.MonkeyPatch, loaded: dict[str, Part] | Exception) -> list[tuple[str, str | None]]:
    """Let `import datasets` give a stand-in; return what is asked of it."""
    asked: list[tuple[str, str | None]] = []

    def load_dataset(name: str, config: str | None) -> dict[str, Part]:
        asked.append((name, config))
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    module: Any = ModuleType("datasets")
    module.__spec__ = pytest.__spec__  # found by importlib
    module.Image, module.ClassLabel, module.load_dataset = Image, ClassLabel, load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return asked


def part(first: int, last: int, features: dict[str, Any] = FEATURES, label: int | None = None) -> Part:
    images = [{"bytes": encoded, "path": None} for encoded in ENCODED[first:last]]
    labels = [n % 2 if label is None else label for n in range(first, last)]
    return Part(features, {"image": images, "label": labels})


def test_images_are_kept_as_they_are_and_splits_without_labels_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = offer(monkeypatch, {"train": part(0, 24), "validation": part(24, 32), "test": part(32, 40, label=-1)})
    manifest = build("hf:someone/pets:small", tmp_path / "d", **FRACTIONS)
    assert asked == [("someone/pets", "small")]
    assert manifest.class_names == ("cat", "dog")
    kept = sorted(image for image, _ in rows_of(tmp_path / "d", "test"))
    assert kept == sorted(ENCODED[24:32])
    assert sum(manifest.counts.values()) == 32


def test_an_image_without_bytes_is_read_from_its_file_or_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = part(0, 24)
    (tmp_path / "3.png").write_bytes(ENCODED[3])
    train.columns["image"][3] = {"bytes": None, "path": str(tmp_path / "3.png")}
    offer(monkeypatch, {"train": train})
    build("hf:pets", tmp_path / "d", **FRACTIONS)
    train.columns["image"][5] = {"bytes": None, "path": str(tmp_path / "no.png")}
    with pytest.raises(InputError, match="hf:pets train, image 5: no image, 0 bytes"):
        build("hf:pets", tmp_path / "e", **FRACTIONS)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"label": ClassLabel(["a"])}, "columns label; expected one of images"),
        ({"image": Image(), "label": "text"}, "expected one of images and one of named labels"),
        ({"image": Image(), "fine": ClassLabel(["a"]), "coarse": ClassLabel(["b"])}, "called `label` if there are"),
    ],
)
def test_columns_that_do_not_say_what_they_hold_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: dict[str, Any], message: str
) -> None:
    offer(monkeypatch, {"train": part(0, 24, features)})
    with pytest.raises(InputError, match=message):
        build("hf:pets", tmp_path / "d")


def test_of_several_splits_of_one_kind_the_one_with_its_name_is_taken_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, {"train": part(0, 24), "train_extra": part(24, 40)})
    assert sum(build("hf:pets", tmp_path / "d", **FRACTIONS).counts.values()) == 24
    offer(monkeypatch, {"train_a": part(0, 24), "train_b": part(24, 40)})
    with pytest.raises(InputError, match="splits train_a, train_b all speak of train; one must be named train"):
        build("hf:pets", tmp_path / "e", **FRACTIONS)


def test_what_cannot_be_loaded_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ConnectionError("no network"))
    with pytest.raises(RunError, match=r"hf:pets: cannot be loaded \(ConnectionError: no network\); check the name"):
        build("hf:pets", tmp_path / "d")
    offer(monkeypatch, {"everything": part(0, 24)})
    with pytest.raises(InputError, match="splits everything; one must be named train"):
        build("hf:pets", tmp_path / "d")


def test_without_the_library_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"hf:pets: the library `datasets` is not installed; pip install 'onepath\[hf"):
        parse_hub("hf:pets")
    with pytest.raises(InputError, match="expected hf:<name of a data set>"):
        parse_hub("hf:")
