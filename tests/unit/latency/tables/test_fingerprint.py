"""Fingerprints: what decides latencies is in them, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from latency.tables.fingerprint import differences, fingerprint, space_hash
from latency.target import load_target, read_target
from supernet.presets import load_space

SPACE, TARGET = load_space("digits"), load_target("ort-cpu-1t")


def test_fingerprint_holds_what_decides_and_nothing_else() -> None:
    here = fingerprint(SPACE, TARGET)
    assert not differences(here, fingerprint(replace(SPACE, dropout=0.5), replace(TARGET, name="other-name")))
    assert differences(here, fingerprint(SPACE, replace(TARGET, threads=2)))
    assert differences(here, fingerprint(SPACE, load_target("torch-cpu-1t")))
    assert {"onnxruntime", "onnx"} == set(here["versions"])
    board = read_target({"name": "b", "runtime": "command", "options": {"command": ["echo"]}}, "b")
    assert (here["protocol"], fingerprint(SPACE, board)["protocol"]) == (3, 4)


def test_space_hash_sees_the_code_of_own_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "own_operators_of_a_test.py"
    file.write_text("A = 1\n")
    space = replace(SPACE, operators="own_operators_of_a_test")
    before = space_hash(space)
    file.write_text("A = 2\n")
    assert space_hash(space) != before


def test_space_hash_sees_every_file_of_a_package_of_own_operators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "own_package_of_a_test"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("from own_package_of_a_test.deep import helper\n")
    (package / "deep" / "__init__.py").touch()
    space, found = replace(SPACE, operators="own_package_of_a_test"), []
    for content in ("A = 1\n", "A = 2\n"):
        (package / "deep" / "helper.py").write_text(content)
        found.append(space_hash(space))
    (package / "deep" / "helper.py").rename(package / "deep" / "other.py")
    found.append(space_hash(space))
    (package / "notes.txt").write_text("no code")
    assert space_hash(space) == found[-1]
    assert len(set(found)) == 3
