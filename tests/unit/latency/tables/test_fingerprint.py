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
