"""A classification data set of torchvision. It must not know how sources are chosen, nor what is made of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.data.pixels import encode_png
from orchestrator.data.sources.source import Row, Rows, Source, listing, make_source
from supernet.errors import InputError, RunError, nearest

_FLAG: tuple[str, tuple[Any, Any]] = ("train", (True, False))
_SPLIT: tuple[str, tuple[Any, Any]] = ("split", ("train", "test"))
# The constructor argument that chooses the split, and its values for train and test.
TORCHVISION_SPLITS = {
    **dict.fromkeys(("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "USPS"), _FLAG),
    **dict.fromkeys(("Country211", "DTD", "Flowers102", "Food101", "GTSRB", "PCAM", "STL10", "SVHN"), _SPLIT),
    "FGVCAircraft": ("split", ("trainval", "test")),
    "Imagenette": ("split", ("train", "val")),
}


def parse_torchvision(source: str) -> tuple[str, Path]:
    """Return the data set's name and folder.

    Raises:
        InputError: If the source is not of the form, or torchvision has no such classification data set.
    """
    parts = source.split(":", 2)
    if len(parts) != 3 or not all(parts):
        raise InputError(f"{source}: expected torchvision:<Dataset>:<folder>, such as torchvision:CIFAR10:~/data")
    _, name, folder = parts
    if name not in TORCHVISION_SPLITS:
        raise InputError(f"{source}: unknown torchvision data set {name!r}{nearest(name, TORCHVISION_SPLITS)}")
    return name, Path(folder).expanduser()


def open_torchvision(source: str) -> Source:
    """A classification data set of torchvision, downloaded into the folder if it is not there.

    Raises:
        InputError: If the data set is not known.
        RunError: If it can neither be found nor downloaded.
    """
    from torchvision import datasets

    name, root = parse_torchvision(source)
    argument, values = TORCHVISION_SPLITS[name]
    make: Any = getattr(datasets, name)
    try:
        root.mkdir(parents=True, exist_ok=True)
        train, test = (make(str(root), download=True, **{argument: value}) for value in values)
    except (OSError, RuntimeError) as error:
        raise RunError(
            f"{source}: {name} is not in {root} and cannot be downloaded ({error}); "
            "put its files there or check the network"
        ) from error
    labels = {"train": _labels(train), "test": _labels(test)}
    num_classes = 1 + max(label for found in labels.values() for label in found)
    names = [str(given) for given in getattr(train, "classes", [])]
    rows = {split: Rows(Row(split, i, 0, label) for i, label in enumerate(found)) for split, found in labels.items()}
    return make_source(
        source,
        names if len(names) == num_classes else [str(n) for n in range(num_classes)],
        rows,
        listing(root),
        read=_Read({"train": train, "test": test}),
        origin=_Origin(name),
    )


def _labels(dataset: Any) -> list[int]:
    stored = (getattr(dataset, attribute, None) for attribute in ("targets", "labels", "_labels"))
    labels = next((found for found in stored if found is not None), None)
    if labels is None:
        labels = [dataset[i][1] for i in range(len(dataset))]
    return [int(label) for label in labels]


@dataclass(frozen=True)
class _Read:
    datasets: dict[str, Any]

    def __call__(self, row: Row) -> bytes:
        return encode_png(np.asarray(self.datasets[row.file][row.at][0]))


@dataclass(frozen=True)
class _Origin:
    name: str

    def __call__(self, row: Row) -> str:
        return f"{self.name} {row.file}, image {row.at}"
