"""A folder of image files by class. It must not know how sources are chosen, nor what is made of them."""

from pathlib import Path

from orchestrator.data.sources.source import Part, Source, listing, read_file
from supernet.errors import InputError, nearest

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
TEST_FOLDERS = ("test", "val", "validation")


def open_folder(source: str) -> Source:
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
    return Source(source, class_names, main, test, listing(root))


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
    return Part(labels, lambda i: read_file(files[i]), lambda i: str(files[i])), class_names


def _subfolders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path, *, deep: bool) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))
