"""Which kinds of data source there are: one line each. It must not know what a source holds."""

from collections.abc import Callable
from pathlib import Path

from orchestrator.data.sources.digits import open_digits
from orchestrator.data.sources.folder import open_folder
from orchestrator.data.sources.parquet import open_parquet
from orchestrator.data.sources.scattered import open_scattered_digits
from orchestrator.data.sources.source import Source
from orchestrator.data.sources.vision import open_torchvision

KINDS: dict[str, Callable[[str], Source]] = {
    "digits": lambda source: open_digits(),
    "scattered-digits": lambda source: open_scattered_digits(),
    "folder": open_folder,
    "parquet": open_parquet,
    "torchvision": open_torchvision,
}


def open_source(source: str) -> Source:
    """Open a data source as the user names it.

    Args:
        source: `digits`, `scattered-digits`, `torchvision:<Dataset>:<folder>`, or a folder: of Parquet files if it
            holds any, else of images by class.

    Raises:
        InputError: If the source is unknown or empty.
        RunError: If a torchvision data set can neither be found nor downloaded.
    """
    return KINDS[kind_of(source)](source)


def kind_of(source: str) -> str:
    """Return which kind of source a name means."""
    if source in ("digits", "scattered-digits"):
        return source
    if source.startswith("torchvision:"):
        return "torchvision"
    folder = Path(source).expanduser()
    return "parquet" if folder.is_dir() and any(folder.glob("*.parquet")) else "folder"
