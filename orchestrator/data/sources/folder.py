"""A folder of image files by class. It must not know how sources are chosen, nor what is made of them."""

from collections.abc import Iterator
from pathlib import Path

from orchestrator.data.sources.source import SPLIT_WORDS, Row, Rows, Source, listing, make_source, shown, walk
from supernet.errors import InputError, nearest

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def open_folder(source: str) -> Source:
    """A folder with one folder per class, or with `train` and others (`val`, `test`) that hold such.

    Raises:
        InputError: If there are no images, or the folder of a class is empty, unknown to `train`, or not named in
            UTF-8.
    """
    root = Path(source).expanduser()
    if not root.is_dir():
        raise InputError(
            f"{source}: no such folder; a data source is 'digits', 'scattered-digits', torchvision:<Dataset>:<folder>, "
            "hf:<name>, a .csv file, or a folder: of .parquet or .tar files, or of images (<folder>/<class>/*.png)"
        )
    folders = {"train": root}
    if (root / "train").is_dir() and _subfolders(root / "train") and not any(map(_is_image, root.glob("train/*"))):
        folders = {SPLIT_WORDS[f.name]: f for f in reversed(_subfolders(root)) if f.name in SPLIT_WORDS}
    classes = {split: _subfolders(folder) for split, folder in folders.items()}
    if not classes["train"]:
        raise InputError(f"{root}: no class folders; images are expected as {root}/<class>/*.png or *.jpg")
    names = {folder.name: label for label, folder in enumerate(classes["train"])}
    parts = {split: Rows(_rows(found, names)) for split, found in classes.items()}
    return make_source(source, list(names), parts, listing(root))


def _rows(folders: list[Path], names: dict[str, int]) -> Iterator[Row]:
    for folder in folders:
        if folder.name not in names:
            raise InputError(f"{folder}: class {folder.name!r} is not in train{nearest(folder.name, names)}")
        label, found = names[folder.name], 0
        for file in walk(folder):
            if _is_image(Path(file)):
                found += 1
                yield Row(file, 0, 0, label)
        if not found:
            raise InputError(f"{folder}: no images ({', '.join(IMAGE_SUFFIXES)}); add some or remove the folder")


def _subfolders(root: Path) -> list[Path]:
    found = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    for path in found:
        if shown(path.name) != path.name:
            raise InputError(f"{shown(path)}: the name of a class must be UTF-8; rename the folder")
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
