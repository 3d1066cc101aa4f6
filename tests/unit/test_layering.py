"""Who may import whom, everywhere in a file: the "must not know" lines at the top of files, checked.

A new folder or a new direction is one line in a table here, seen in review.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from repository import ROOT

SUPERNET, LATENCY = {"supernet", "configs"}, {"latency/errors", "latency/target", "latency/precision"}
MEASURING = {*LATENCY, "latency/runtimes", "latency/graphs", "latency/measuring", "latency/tables"}

MAY_IMPORT = {
    "configs": set(),
    "supernet": {"configs"},
    "latency/errors": SUPERNET,
    "latency/precision": SUPERNET,
    "latency/target": {*SUPERNET, "latency/runtimes"},
    "latency/runtimes": {*SUPERNET, *LATENCY},
    "latency/graphs": {*SUPERNET, *LATENCY},
    "latency/measuring": {*SUPERNET, *MEASURING},
    "latency/tables": {*SUPERNET, *MEASURING},
    "latency/checks": {*SUPERNET, *MEASURING},
    "orchestrator/data": SUPERNET,
    "orchestrator/plan": {*SUPERNET, *MEASURING, "orchestrator/data", "orchestrator/report"},
    "orchestrator/report": {*SUPERNET, *LATENCY, "orchestrator/data", "orchestrator/plan"},
    "orchestrator/cluster": {*SUPERNET, *MEASURING, "orchestrator/data", "orchestrator/plan"},
    "orchestrator/registry": {*SUPERNET, *MEASURING, "orchestrator/data", "orchestrator/plan", "orchestrator/report"},
    "orchestrator/trial": {
        *SUPERNET,
        *MEASURING,
        "orchestrator/data",
        "orchestrator/plan",
        "orchestrator/report",
        "orchestrator/cluster",
    },
    "orchestrator/sweep": {
        *SUPERNET,
        "latency/tables",
        "orchestrator/data",
        "orchestrator/plan",
        "orchestrator/report",
        "orchestrator/cluster",
        "orchestrator/trial",
        "orchestrator/registry",
    },
    "orchestrator/given": {
        *SUPERNET,
        *MEASURING,
        "orchestrator/data",
        "orchestrator/plan",
        "orchestrator/trial",
        "orchestrator/registry",
    },
    "orchestrator/cli": {
        *SUPERNET,
        *MEASURING,
        "latency/checks",
        "orchestrator/data",
        "orchestrator/plan",
        "orchestrator/report",
        "orchestrator/cluster",
        "orchestrator/registry",
        "orchestrator/sweep",
        "orchestrator/given",
    },
}
"""By place (a folder, or a file of a room's ground floor): the other places that it may import."""

MAY_NAME = {
    "ray": {
        "orchestrator/cluster/devices",
        "orchestrator/cluster/leftovers",
        "orchestrator/cluster/progress",
        "orchestrator/cluster/session",
        "orchestrator/cluster/tasks",
        "orchestrator/trial/rendezvous",
        "orchestrator/trial/saver",
        "orchestrator/trial/search_job",
        "orchestrator/trial/tuning",
    },
    "ray.train": {"orchestrator/trial/rendezvous", "orchestrator/trial/saver", "orchestrator/trial/search_job"},
    "ray.tune": {"orchestrator/trial/tuning"},
    "ray._private": {"orchestrator/cluster/leftovers"},
    "mlflow": {"orchestrator/registry/connection", "orchestrator/registry/server"},
    "typer": {"orchestrator/cli"},
    "benchmarks": set(),
    "tests": set(),
}
"""By library, or part of one: the places and files that may name it."""

TESTED_BY = {
    "supernet/gates": "unit/supernet/test_estimators.py",
    "supernet/rows": "unit/supernet/test_space.py",
    "supernet/sharing": "unit/supernet/test_weights.py",
    "supernet/training": "unit/supernet/test_specialise.py",
    "latency/runtimes/ort": "unit/latency/runtimes/test_registry.py",
    "latency/runtimes/ov": "unit/latency/runtimes/test_registry.py",
    "latency/runtimes/torch_compiled": "integration/test_latency_flow.py",
    "orchestrator/cli/models": "integration/test_registry_commands.py",
    "orchestrator/cli/pull": "integration/test_registry_commands.py",
    "orchestrator/cli/settings": "unit/orchestrator/cli/test_main.py",
    "orchestrator/cli/device": "unit/orchestrator/cluster/test_devices.py",
    "orchestrator/cluster/leftovers": "integration/test_resume.py",
    "orchestrator/data/augment": "unit/orchestrator/data/test_batches.py",
    "orchestrator/data/examine": "unit/orchestrator/data/test_build.py",
    "orchestrator/data/place": "unit/orchestrator/data/test_build.py",
    "orchestrator/data/processes": "unit/orchestrator/data/test_build.py",
    "orchestrator/data/sources/digits": "unit/orchestrator/data/test_build.py",
    "orchestrator/data/sources/source": "unit/orchestrator/data/sources/test_folder.py",
    "orchestrator/registry/embedded": "integration/test_registry_moved.py",
    "orchestrator/registry/server": "integration/test_registering.py",
    "orchestrator/report/architecture": "unit/orchestrator/cli/test_arch.py",
    "orchestrator/trial/search_job": "integration/test_resume.py",
    "orchestrator/trial/tuning": "integration/test_sweep.py",
}
"""Modules whose functions are tested through others, or need a real cluster, server or process: by which test."""

ROOMS = ("configs", "supernet", "latency", "orchestrator")
FILES = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]


def imported(source: str) -> set[str]:
    """Return the dotted names that a source imports anywhere, by statement or by name."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__", "find_spec"):
                names.add(str(node.args[0].value))
    return names


def at_run_time(source: str) -> str:
    """Return a source without what only type checkers see."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return ast.unparse(tree)


def within(name: str, places: set[str]) -> str:
    """Return the place that a path without its suffix lies in, or nothing."""
    return next((place for place in places if name == place or name.startswith(f"{place}/")), "")


def path_of(file: Path) -> str:
    return file.relative_to(ROOT).with_suffix("").as_posix()


@pytest.mark.parametrize("file", FILES, ids=path_of)
def test_a_file_imports_what_its_place_may(file):
    if file.name == "__init__.py":
        assert len(ast.parse(file.read_text()).body) == 1, "a package's file holds a docstring only"
        return
    here = within(path_of(file), set(MAY_IMPORT))
    assert here, f"{path_of(file)} has no line in MAY_IMPORT"
    for name in imported(file.read_text()):
        there = within(name.replace(".", "/"), set(MAY_IMPORT))
        if name.split(".")[0] in ROOMS and there != here:
            assert there in MAY_IMPORT[here], f"{path_of(file)} imports {name}"


@pytest.mark.parametrize("library", MAY_NAME)
def test_a_library_is_named_in_its_places_only(library):
    naming = {
        path_of(file)
        for file in FILES
        if any(name == library or name.startswith(f"{library}.") for name in imported(file.read_text()))
    }
    assert {name for name in naming if not within(name, MAY_NAME[library])} == set()
    unused = {place for place in MAY_NAME[library] if not any(within(name, {place}) for name in naming)}
    assert unused == set(), "these need not name it any more"


def test_no_module_imports_itself_over_others():
    modules = {path_of(file).replace("/", "."): file for file in FILES if file.name != "__init__.py"}
    graph = {
        module: {
            found
            for name in imported(at_run_time(file.read_text()))
            if (found := name if name in modules else name.rpartition(".")[0]) in modules
        }
        for module, file in modules.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError with the modules of a cycle


@pytest.mark.parametrize("file", FILES, ids=path_of)
def test_a_module_with_functions_has_its_test_file(file):
    """`room/folder/module.py` is tested in `tests/unit/room/folder/test_module.py`, so that it is found."""
    body, module = ast.parse(file.read_text()).body, path_of(file)
    if any(isinstance(node, ast.FunctionDef) and not node.name.startswith("_") for node in body):
        own = ROOT / "tests/unit" / Path(module).parent / f"test_{file.name}"
        other = ROOT / "tests" / TESTED_BY.get(module, "no")
        assert own.is_file() != other.is_file(), f"{module} wants {own.name}, or a line in TESTED_BY, not both"


def test_the_check_sees_lazy_imports_too():
    source = """
def f():
    if True:
        import ray.train as r
    from mlflow import log_metric
    from ray import tune
    importlib.import_module("latency.tables.table")
"""
    assert imported(source) == {"ray.train", "mlflow.log_metric", "ray.tune", "latency.tables.table"}
