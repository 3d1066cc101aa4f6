"""Where images come from: scikit-learn's digits, a folder of images, a torchvision data set.

Why here: the builder is one piece of code for all of them, so each is brought to the same shape, a `Source`. It must
not know shards, splitting or anything that reads the result.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.data.format import encode_png
from supernet.errors import InputError, RunError, nearest

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
TEST_FOLDERS = ("test", "val", "validation")
_FLAG: tuple[str, tuple[Any, Any]] = ("train", (True, False))
_SPLIT: tuple[str, tuple[Any, Any]] = ("split", ("train", "test"))
# The constructor argument that chooses the split, and its values for train and test.
TORCHVISION_SPLITS = {
    **dict.fromkeys(("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "USPS"), _FLAG),
    **dict.fromkeys(("Country211", "DTD", "Flowers102", "Food101", "GTSRB", "PCAM", "STL10", "SVHN"), _SPLIT),
    "FGVCAircraft": ("split", ("trainval", "test")),
    "Imagenette": ("split", ("train", "val")),
}


@dataclass(frozen=True)
class Part:
    """Images of a source that belong together: all of them, or those of a split the source brings.

    Attributes:
        labels: One label per image.
        encoded: Encoded bytes of image i.
        origin: What to call image i in an error.
    """

    labels: Sequence[int]
    encoded: Callable[[int], bytes]
    origin: Callable[[int], str]


@dataclass(frozen=True)
class Source:
    """A set of labelled images.

    Attributes:
        name: As the user wrote it.
        class_names: One per label.
        main: What train and validation (and test, if `test` is None) are cut from.
        test: The test split if the source brings one.
        listing: Cheap fingerprint; the same listing means the same content.
    """

    name: str
    class_names: tuple[str, ...]
    main: Part
    test: Part | None
    listing: str


def open_source(source: str) -> Source:
    """Open `digits`, `torchvision:<Dataset>:<folder>` or a folder of images.

    Raises:
        InputError: If the source is unknown or empty.
        RunError: If a torchvision data set can neither be found nor downloaded.
    """
    if source == "digits":
        return _digits()
    if source.startswith("torchvision:"):
        return _torchvision(source)
    return _folder(source)


def _digits() -> Source:
    """1797 handwritten digits of 8 x 8 in 17 grays; they are part of scikit-learn's wheel."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = np.round(loaded.images * (255 / 16)).astype(np.uint8)
    labels = [int(label) for label in loaded.target]
    main = Part(labels, lambda i: encode_png(images[i]), lambda i: f"digits, image {i}")
    listing = hashlib.sha256(images.tobytes() + loaded.target.tobytes()).hexdigest()
    return Source("digits", tuple(str(n) for n in range(10)), main, None, listing)


def _folder(source: str) -> Source:
    """A folder with one folder per class, or with `train` and `test` (or `val`) folders of such."""
    root = Path(source).expanduser()
    if not root.is_dir():
        raise InputError(
            f"{source}: no such folder; a data source is 'digits', a folder of images (<folder>/<class>/*.png), "
            "or torchvision:<Dataset>:<folder>"
        )
    train = root / "train"
    if train.is_dir() and _subfolders(train) and not _images(train, deep=False):
        tests = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
        main, class_names = _folder_part(train, None)
        test = _folder_part(tests[0], class_names)[0] if tests else None
    else:
        main, class_names = _folder_part(root, None)
        test = None
    return Source(source, class_names, main, test, _listing(root))


def _folder_part(root: Path, class_names: tuple[str, ...] | None) -> tuple[Part, tuple[str, ...]]:
    folders = _subfolders(root)
    if not folders:
        raise InputError(f"{root}: no class folders; images are expected as {root}/<class>/*.png or *.jpg")
    if class_names is None:
        class_names = tuple(folder.name for folder in folders)
    files: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        if folder.name not in class_names:
            raise InputError(f"{folder}: class {folder.name!r} is not in train{nearest(folder.name, class_names)}")
        found = _images(folder, deep=True)
        if not found:
            raise InputError(f"{folder}: no images ({', '.join(IMAGE_SUFFIXES)}); add some or remove the folder")
        files += found
        labels += [class_names.index(folder.name)] * len(found)
    return Part(labels, lambda i: _read(files[i]), lambda i: str(files[i])), class_names


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); repair or remove the file") from None


def _subfolders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path, *, deep: bool) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))


def _listing(root: Path) -> str:
    """Hash of relative path, size and time of every file under a folder."""
    digest = hashlib.sha256()
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            state = os.stat(path)
            digest.update(f"{os.path.relpath(path, root)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _torchvision(source: str) -> Source:
    """A classification data set of torchvision, downloaded into the folder if it is not there."""
    from torchvision import datasets

    parts = source.split(":", 2)
    if len(parts) != 3 or not all(parts):
        raise InputError(f"{source}: expected torchvision:<Dataset>:<folder>, such as torchvision:CIFAR10:~/data")
    _, name, folder = parts
    root = Path(folder).expanduser()
    if name not in TORCHVISION_SPLITS:
        raise InputError(f"{source}: unknown torchvision data set {name!r}{nearest(name, TORCHVISION_SPLITS)}")
    argument, values = TORCHVISION_SPLITS[name]
    make: Any = getattr(datasets, name)
    root.mkdir(parents=True, exist_ok=True)
    try:
        train, test = (make(str(root), download=True, **{argument: value}) for value in values)
    except (OSError, RuntimeError) as error:
        raise RunError(
            f"{source}: {name} is not in {root} and cannot be downloaded ({error}); "
            "put its files there or check the network"
        ) from error
    main, held = _torchvision_part(train, f"{name} train"), _torchvision_part(test, f"{name} test")
    num_classes = 1 + max([*main.labels, *held.labels])
    names = [str(given) for given in getattr(train, "classes", [])]
    class_names = tuple(names) if len(names) == num_classes else tuple(str(n) for n in range(num_classes))
    return Source(source, class_names, main, held, _listing(root))


def _torchvision_part(dataset: Any, name: str) -> Part:
    stored = (getattr(dataset, attribute, None) for attribute in ("targets", "labels", "_labels"))
    labels = next((found for found in stored if found is not None), None)
    if labels is None:
        labels = [dataset[i][1] for i in range(len(dataset))]

    def encoded(i: int) -> bytes:
        return encode_png(np.asarray(dataset[i][0]))

    return Part([int(label) for label in labels], encoded, lambda i: f"{name}, image {i}")
