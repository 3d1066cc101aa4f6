"""Fresh Python environments that hold a few distributions and what these require, and nothing else.

They are cheap: packages are links to those of this environment. With ONEPATH_FRESH=pip the same versions are installed
instead.
"""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from repository import ROOT


def required(names: Iterable[str]) -> set[str]:
    """Return distributions with all that they require here, by their canonical names."""
    found: set[str] = set()
    left = [canonicalize_name(name) for name in names]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        wanted = [Requirement(text) for text in distribution(name).requires or []]
        left += [canonicalize_name(r.name) for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def fresh_python(folder: Path, names: Iterable[str]) -> Path:
    """Make an environment in `folder` with those distributions, and return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    if os.environ.get("ONEPATH_FRESH") == "pip":
        install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), *names], check=True, timeout=3600)
        return python
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    for name in required(names):
        for part in {file.parts[0] for file in distribution(name).files or [] if file.parts[0] != ".."}:
            if part != "__pycache__" and not (site / part).exists():
                (site / part).symlink_to(distribution(name).locate_file(part))
    return python
