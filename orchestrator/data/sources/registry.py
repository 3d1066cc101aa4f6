"""Which kinds of data source there are: one line each. It must not know what a source holds."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from orchestrator.data.sources.digits import open_digits
from orchestrator.data.sources.folder import open_folder, require_folder
from orchestrator.data.sources.hub import open_hub, parse_hub
from orchestrator.data.sources.parquet import open_parquet
from orchestrator.data.sources.scattered import open_scattered_digits
from orchestrator.data.sources.source import Source
from orchestrator.data.sources.table import open_table
from orchestrator.data.sources.tars import open_tars
from orchestrator.data.sources.vision import open_torchvision, parse_torchvision
from supernet.errors import InputError


class Kind(NamedTuple):
    """A kind of source: which names mean it, how one is opened, and what can be refused without opening it.

    One that is published is fetched where it is not at hand, and is what its name says wherever that is.
    """

    means: Callable[[str], bool]
    open: Callable[[str], Source]
    check: Callable[[str], object] = lambda source: None
    published: bool = False


def _holds(pattern: str) -> Callable[[str], bool]:
    return lambda source: Path(source).expanduser().is_dir() and any(Path(source).expanduser().glob(pattern))


def _require_folder(source: str) -> None:
    if "://" not in source:  # else prepared shards in an object store
        require_folder(source)


KINDS = {
    "digits": Kind(lambda source: source == "digits", open_digits),
    "scattered-digits": Kind(lambda source: source == "scattered-digits", open_scattered_digits),
    "torchvision": Kind(lambda source: source.startswith("torchvision:"), open_torchvision, parse_torchvision, True),
    "hf": Kind(lambda source: source.startswith("hf:"), open_hub, parse_hub, True),
    "csv": Kind(lambda source: source.endswith(".csv") and Path(source).expanduser().is_file(), open_table),
    "parquet": Kind(_holds("*.parquet"), open_parquet),
    "tar": Kind(_holds("*.tar"), open_tars),
    "folder": Kind(lambda source: True, open_folder, _require_folder),
}
"""By name, asked in this order."""


def open_source(source: str) -> Source:
    """Open a data source as the user names it.

    Args:
        source: One of `orchestrator.data.sources.named.SOURCES`.

    Raises:
        InputError: If the source is unknown or empty.
        RunError: If a data set of torchvision or of the hub can neither be found nor downloaded.
    """
    return KINDS[_kind_of(source)].open(source)


def check_source(source: str) -> None:
    """Refuse a source that is not there, without opening it.

    Raises:
        InputError: Saying what a source may be.
    """
    KINDS[_kind_of(source)].check(source)


def can_have_changed(source: str) -> bool:
    """Whether what was made of a source is to be compared with it again: not if it is published, or gone."""
    with suppress(InputError):
        check_source(source)
        return not KINDS[_kind_of(source)].published
    return False


def _kind_of(source: str) -> str:
    """Return which kind of source a name means; a folder that is not there is one of images."""
    return next(name for name, kind in KINDS.items() if kind.means(source))
