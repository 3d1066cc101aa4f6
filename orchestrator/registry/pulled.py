"""A folder with a pulled network: it takes the place of the one that an earlier pull put there, and of nothing else.

Why here: the folder may be the user's own, with files of the same names in it; only what its `model.json` lists was
written here. It must not know MLflow.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.registry.model import FILES, PIXELS_FILE
from supernet.errors import InputError
from supernet.files import write_whole
from supernet.plain import read_json

NUMBERS_FILE = "model.json"
"""The network's numbers, and under `files` the names of all files that were pulled with them."""


def write_numbers(folder: Path, numbers: Mapping[str, Any]) -> None:
    """Write the numbers of the network in a folder."""
    write_whole(folder / NUMBERS_FILE, f"{json.dumps(numbers, indent=2, allow_nan=False)}\n".encode())


def put(ready: Path, out: Path) -> None:
    """Move a network with its numbers, all that is in one folder, into another.

    Files of the same names are replaced, others that an earlier pull wrote are removed. The numbers come last: a folder
    with them is of one network.
    """
    names = {file.name for file in ready.iterdir()} - {NUMBERS_FILE}
    out.mkdir(exist_ok=True)
    for name in (*(_pulled(out) - names), NUMBERS_FILE):
        (out / name).unlink(missing_ok=True)
    for name in (*names, NUMBERS_FILE):
        os.replace(ready / name, out / name)


def add(out: Path, name: str, content: bytes) -> None:
    """Write one more file of a pulled network, named among the others first: the next pull has to know of it."""
    numbers = read_json(dict[str, Any], (out / NUMBERS_FILE).read_bytes(), NUMBERS_FILE)
    write_numbers(out, numbers | {"files": [*numbers["files"], name]})
    write_whole(out / name, content)


def _pulled(out: Path) -> set[str]:
    """Return which files of a folder a pull wrote; none where no numbers of one are there."""
    try:
        listed = read_json(dict[str, Any], (out / NUMBERS_FILE).read_bytes(), NUMBERS_FILE).get("files")
    except (FileNotFoundError, InputError):
        return set()
    return {name for name in (*FILES, PIXELS_FILE) if isinstance(listed, list) and name in listed}
