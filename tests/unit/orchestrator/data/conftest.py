"""A data set to spoil."""

import shutil
from pathlib import Path

import pytest

from orchestrator.data.build import build


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "digits"
    build("digits", root, rows_per_group=100, groups_per_file=4)
    return root


@pytest.fixture
def digits(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "digits"))
