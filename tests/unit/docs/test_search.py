"""The worked example of docs/search.md: an own operator and space in under 30 lines, searched, costed and exported."""

import re
import sys

import pytest
import torch
from repository import ROOT
from supernet_tiny import TinyData

from latency.graphs.export import export_onnx, export_parity
from supernet import ops
from supernet.cost import count_cost, params_table
from supernet.presets import load_network, load_space

DOCUMENT = ROOT / "docs" / "search.md"


def blocks():
    """Return the fenced blocks of the page; those that name their file by it, the others by their language."""
    found = {}
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE):
        named = re.match(r"# (own_\w+\.\w+)\n", body)
        found[named.group(1) if named else language] = body
    return found


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The example's files in the working directory, on the path, and forgotten afterwards."""
    files = {name: body for name, body in blocks().items() if "." in name}
    assert set(files) == {"own_operators.py", "own_space.yaml"}
    for name, body in files.items():
        (tmp_path / name).write_text(body)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield files
    sys.modules.pop("own_operators", None)
    ops.BUILDERS.pop("fused", None)


def test_the_example_is_under_30_lines(example):
    assert sum(len(body.splitlines()) for body in example.values()) < 30


def test_the_example_space_is_costed_without_formulas(example):
    space, architecture = load_network("own_space.yaml:k5e4~z~fused_k3e2", trust=True)
    assert [len(p.candidates) for p in space.positions] == [4, 5, 5]
    # body.2 is fused, 24 channels, expansion 2: two convolutions and two batch norms.
    assert params_table(space).candidates[2][2] == 24 * 48 * 9 + 2 * 48 + 48 * 24 + 2 * 24
    assert count_cost(space, architecture)["output_shape"] == [1, 10]


def test_the_example_search_runs_and_its_network_exports(example, tmp_path):
    space = load_space("own_space.yaml")
    scope = {"data": TinyData(space, torch.float32)}
    exec(blocks()["python"], scope)
    assert scope["run"].done
    assert scope["training"].done
    assert 0.8 * scope["budget"] < scope["costs"].total(scope["path"]) <= scope["budget"]
    file = export_onnx(scope["network"], space.input_size, tmp_path / "own.onnx")
    assert export_parity(scope["network"], file, space.input_size) < 1e-4
