"""A folder to work in as a reader does."""

import sys

import pytest

from supernet import ops


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in an empty folder that is on the path; forget its modules and operators afterwards."""
    known = set(sys.modules), dict(ops.BUILDERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in sys.modules.keys() - known[0]:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]
    for name in ops.BUILDERS.keys() - known[1].keys():
        del ops.BUILDERS[name]
