"""The command line in this process."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.main import main


@pytest.fixture
def here(monkeypatch, capfd):
    """Return what runs the command line in this process, where nothing is imported anew."""

    def run(*arguments, cwd=None, env=None):
        monkeypatch.chdir(cwd or Path.cwd())
        for key, value in (env or {}).items():
            monkeypatch.setenv(key, value)
        monkeypatch.setattr(sys, "argv", ["onepath", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code or 0, out, err)

    return run
