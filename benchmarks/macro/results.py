"""What a benchmark on CIFAR-10 found: printed as JSON, and kept with version and settings."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.macro.supernets import read_settings
from supernet.files import write_whole


def tell(report: Mapping[str, Any], output: Path | None, *, in_one_line: bool) -> None:
    """Print a report; with `output`, also write it there, with what it was made by."""
    if output:
        about = {"version": version("onepath"), "torch": torch.__version__, "settings": read_settings()}
        write_whole(output, json.dumps({**report, **about}, indent=1).encode())
    print(json.dumps(report, indent=None if in_one_line else 1))
