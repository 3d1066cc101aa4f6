"""Spaces and networks by name, file and id; what is not there is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

from supernet.errors import InputError
from supernet.presets import load_network, load_space


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("proxyless-mobil", "did you mean 'proxyless-mobile'"),
        ("digits:k3e3", "1 operators, but space 'digits' has 6 positions"),
        ("digits:z~z~z-k5e6~k3e3~z", "stage1.0 has no candidate 'z'"),
        ("digts:k3e3", "did you mean 'digits'"),
        (":k3e3", "expected SPACE:OP"),
        ("missing.json", "no such file"),
        ("configs/spaces/digits.yaml", "network configs/spaces/digits.yaml: unknown key 'name'"),
        ("missing.yaml:k3e3", "no such file"),
    ],
)
def test_networks_that_are_not_there_are_refused(reference, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError) as caught:
        load_network(reference)
    assert message in str(caught.value)


def test_definitions_that_stand_on_one_another_in_a_circle_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(InputError, match=r"yaml\.base: more than 8 definitions on one another"):
        load_space("a.yaml")


def test_presets_are_found_beside_their_package(tmp_path: Path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("")
    code = "from supernet.presets import load_space; print(load_space('digits').name)"
    path = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "digits\n"
