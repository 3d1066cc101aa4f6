"""Imports go one way, everywhere in a file: orchestrator to latency to supernet, and no cluster below it."""

import ast
from pathlib import Path

import pytest
from repository import ROOT

FORBIDDEN = {
    "supernet": {"ray", "mlflow", "latency", "orchestrator", "benchmarks"},
    "latency": {"ray", "mlflow", "orchestrator", "benchmarks"},
    "orchestrator": {"benchmarks"},
    "configs": {"ray", "mlflow", "torch", "supernet", "latency", "orchestrator", "benchmarks"},
}


def imported(source: str) -> set[str]:
    """Return the top-level names that a source imports anywhere, by statement or by name."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__", "find_spec"):
                names.add(str(node.args[0].value).split(".")[0])
    return names


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_import_downwards_only(room):
    assert files(room)
    for file in files(room):
        bad = imported(file.read_text()) & FORBIDDEN[room]
        assert not bad, f"{file.relative_to(ROOT)} imports {sorted(bad)}"


def test_the_check_sees_lazy_imports_too():
    source = """
def f():
    if True:
        import ray.train as r
    from mlflow import log_metric
    importlib.import_module("latency.tables.table")
"""
    assert {"ray", "mlflow", "latency"} <= imported(source)
