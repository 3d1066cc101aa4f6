"""A folder of image files by class. It must not know how sources are chosen, nor what is made of them."""

from collections.abc import Iterator
from pathlib import Path

from orchestrator.data.sources.named import SOURCES
from orchestrator.data.sources.source import SPLIT_WORDS, Row, Rows, Source, listing, make_source, shown, walk
from supernet.errors import InputError, nearest

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def require_folder(source: str) -> None:
    """Refuse a folder that is not there.

    Raises:
        InputError: Saying what a source may be.
    """
    if not Path(source).expanduser().is_dir():
        raise InputError(f"no folder {source!r}; a data source is one of {SOURCES}")


def open_folder(source: str) -> Source:
    """A folder with one folder per class, or with one per split (`train`, `val`, `test`) that hold such.

    Raises:
        InputError: If there are no images, it is not clear which folders are the classes, or the folder of a class is
            empty, unknown to `train`, or not named in UTF-8.
    """
    require_folder(source)
    root = Path(source).expanduser()
    classes = {split: _subfolders(folder) for split, folder in _splits(root).items()}
    train = classes.get("train", [])
    if not train:
        raise InputError(f"{root}: no class folders to train on; images are expected as {root}/<class>/*.png or *.jpg")
    _refuse_deeper(train)
    names = {folder.name: label for label, folder in enumerate(train)}
    parts = {split: Rows(_rows(found, names)) for split, found in classes.items()}
    return make_source(source, list(names), parts, listing(root))


def _splits(root: Path) -> dict[str, Path]:
    """Return the folder of each split; all is `train` unless a folder has the name of a split, and folders in it.

    Raises:
        InputError: If images lie outside of the splits and classes, or two folders are of one split.
    """
    subfolders = _subfolders(root)
    of_splits = [f for f in subfolders if f.name.lower() in SPLIT_WORDS]
    nested = next((f for f in of_splits if _subfolders(f)), None)
    if nested is None:
        return {"train": root}
    for folder in subfolders:
        if folder not in of_splits and any(_is_image(Path(file)) for file in walk(folder)):
            raise InputError(
                f"{folder}: holds images, and is no split: those are called {', '.join(SPLIT_WORDS)}. {nested.name} "
                "beside it is one, by its name and the folders in it; rename or remove one of the two"
            )
    found: dict[str, Path] = {}
    for folder in of_splits:
        split = SPLIT_WORDS[folder.name.lower()]
        if split in found:
            raise InputError(f"{folder}: the {split} split, as {found[split].name} is; join them, or remove one")
        if _subfolders(folder) and _holds_images(folder):
            raise InputError(
                f"{folder}: images beside folders, where the {split} split has one folder per class; put every image "
                "into its class's folder, or rename the folder if it is a class"
            )
        found[split] = folder
    return found


def _refuse_deeper(classes: list[Path]) -> None:
    """Refuse folders that hold those of the classes, several of them, in place of images.

    One folder in that of a class, as in Tiny ImageNet (`<class>/images/*.JPEG`), is clear.
    """
    several = next((folder for folder in classes if len(_subfolders(folder)) > 1), None)
    if several is not None and not any(map(_holds_images, classes)):
        inner = ", ".join(folder.name for folder in _subfolders(several)[:3])
        raise InputError(
            f"{several}: not a class by the look of it: neither it nor a folder beside it holds images, only folders "
            f"({inner}); name the folder that holds the folders of the classes, such as {several}, or put the images "
            "of each class straight into its folder"
        )


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


def _holds_images(folder: Path) -> bool:
    return any(map(_is_image, folder.iterdir()))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
