"""`onepath data`: built, checked and shown from the command line."""

import json
import shutil
from pathlib import Path

import pytest
from data_cases import image_folder
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
    with pytest.raises(InputError, match=r"--png .*sheet\.jpg: a picture is written as PNG; end the name in \.png"):
        run("show", out, "--png", str(tmp_path / "sheet.jpg"))
    assert not (tmp_path / "sheet.jpg").exists()


def test_images_left_out_and_in_two_splits_are_listed_by_build_and_check(tmp_path: Path) -> None:
    source, out = image_folder(tmp_path / "src" / "train"), str(tmp_path / "d")
    (tmp_path / "src" / "test" / "class0").mkdir(parents=True)
    shutil.copy(source / "class1" / "5.png", tmp_path / "src" / "test" / "class0" / "again.png")
    (source / "class0" / "broken.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.png: not a readable image"):
        run("build", str(tmp_path / "src"), out)
    for told in (run("build", str(tmp_path / "src"), out, "--max-corrupt", "1"), run("check", out)):
        assert "left out: " in told
        assert "broken.png: not a readable image" in told
        assert "1 image stands in more than one split, such as:" in told
        assert "test has no image of class1, class2" in told
        assert "train has no image" not in told
        assert "again.png (test)" in told
    assert json.loads(run("check", out, "--json"))["origin"]["num_duplicates"] == 1


def test_faults_end_with_an_error_that_lists_them(tmp_path: Path) -> None:
    out = tmp_path / "d"
    run("build", "digits", str(out))
    (out / "test-00000.parquet").unlink()
    with pytest.raises(RunError, match=r"d: 1 faults\n.*test-00000\.parquet, row group 0: cannot be read"):
        run("check", str(out))
    with pytest.raises(InputError, match="seed -1"):
        run("build", "digits", str(tmp_path / "e"), "--seed", "-1")
