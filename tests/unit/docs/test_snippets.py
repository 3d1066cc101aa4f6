"""Every Python block of the README and the documentation runs, in a folder with what its page prepares before it."""

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
from documents import PAGES, blocks, write_files
from latency_cases import made_up_table
from registry_cases import make_result, register
from repository import ROOT

from latency.graphs.export import export_onnx, export_parity
from latency.tables.file import write_table
from orchestrator.registry.store import Registry
from supernet.cost import count_cost, params_table
from supernet.presets import load_network

SEARCH = ROOT / "docs" / "search.md"
SNIPPETS = [block for page in PAGES for block in blocks(page) if block.language == "python" and not block.file]


def a_registered_quickstart(folder: Path) -> None:
    registry = Registry(f"sqlite:///{folder}/onepath-runs/mlflow.db")
    registry.open_sweep("quickstart", {})
    register(registry, make_result("ort-cpu-1t-f0.1", sweep="quickstart"), folder / "files")


def a_kept_table(folder: Path) -> None:
    write_table(made_up_table(), folder / "onepath-runs" / "tables")


def its_network_keeps_the_budget_and_exports(folder: Path, found: dict[str, Any]) -> None:
    assert found["costs"].total(found["path"]) <= found["budget"]  # its images are noise: any such path is as good
    file = export_onnx(found["network"], found["space"].input_size, folder / "own.onnx")
    assert export_parity(found["network"], file, found["space"].input_size) < 1e-4


def the_network_is_found(folder: Path, found: dict[str, Any]) -> None:
    assert len(found.get("found", [1])) == 1


BEFORE = {
    "README.md": a_registered_quickstart,
    "delivery.md": a_registered_quickstart,
    "latency.md": a_kept_table,
}
"""What a reader has done when he comes to the page's Python: run the quickstart, measured a table."""


AFTER = {
    "README.md": the_network_is_found,
    "delivery.md": the_network_is_found,
    "search.md": its_network_keeps_the_budget_and_exports,
}


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_a_snippet_runs(block, folder):
    write_files(block.page, folder)
    if block.page.name in BEFORE:
        BEFORE[block.page.name](folder)
    found: dict[str, Any] = {}
    exec(compile("\n" * block.line + block.text, str(block.page), "exec"), found)  # an error names page and line
    if block.page.name in AFTER:
        AFTER[block.page.name](folder, found)


def test_pages_have_snippets():
    assert {block.page.name for block in SNIPPETS} >= {"README.md", "latency.md", "search.md"}


def test_the_search_core_wants_what_the_page_says():
    """`supernet` imports no more than docs/search.md names: torch, numpy, PyYAML and pydantic."""
    wanted = set()
    for file in (ROOT / "supernet").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            wanted |= {name.split(".")[0] for name in names}
    assert wanted - sys.stdlib_module_names - {"supernet", "configs"} == {"torch", "numpy", "yaml", "pydantic"}
    assert "torch, numpy, PyYAML and pydantic" in SEARCH.read_text()


def test_the_own_space_is_under_30_lines():
    assert sum(len(block.text.splitlines()) for block in blocks(SEARCH) if block.file.startswith("own")) < 30


def test_the_own_space_is_costed_without_formulas(folder):
    write_files(SEARCH, folder)
    space, architecture = load_network("own_space.yaml:k5e4~z~fused_k3e2", trust=True)
    assert [len(p.candidates) for p in space.positions] == [4, 5, 5]
    # body.2 is fused, 24 channels, expansion 2: two convolutions and two batch norms.
    assert params_table(space).candidates[2][2] == 24 * 48 * 9 + 2 * 48 + 48 * 24 + 2 * 24
    assert count_cost(space, architecture)["output_shape"] == [1, 10]
