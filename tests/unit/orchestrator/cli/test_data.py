"""`onepath data`: built, checked and shown from the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.data import app
from supernet.errors import InputError, RunError


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_set_is_built_checked_and_shown(tmp_path: Path) -> None:
    out = str(tmp_path / "d")
    built = json.loads(run("build", "digits", out, "--json"))
    assert built["counts"] == {"train": 1439, "validation": 179, "test": 179}
    assert "10 classes; train 1439, validation 179, test 179" in run("build", "digits", out)
    assert json.loads(run("check", out, "--json"))["faults"] == []
    shown = json.loads(run("show", out, "--json", "--png", str(tmp_path / "sheet.png")))
    assert [sum(counts) for counts in shown["class_counts"].values()] == [1439, 179, 179]
    assert (tmp_path / "sheet.png").exists()
    assert "all" in run("show", out)


def test_faults_end_with_an_error_that_lists_them(tmp_path: Path) -> None:
    out = tmp_path / "d"
    run("build", "digits", str(out))
    (out / "test-00000.parquet").unlink()
    with pytest.raises(RunError, match=r"d: 1 faults\n.*test-00000\.parquet, row group 0: cannot be read"):
        run("check", str(out))
    with pytest.raises(InputError, match="seed -1"):
        run("build", "digits", str(tmp_path / "e"), "--seed", "-1")
