"""What integration tests share: their order, and a real MLflow on SQLite with a sweep of three networks."""

from pathlib import Path

import pytest
from registry_cases import make_result, open_registry, register

from orchestrator.registry.store import Registry


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long ones, which start a Ray session: none of them is left to one process at the end."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(root: Path) -> Registry:
    """A sweep of three networks on two targets."""
    registry = open_registry(root)
    registry.open_sweep("night", {"seed": 7})
    register(registry, make_result("ort-wide", cost=2.5, top1=0.95), root / "files")
    register(registry, make_result("ort-tight"), root / "files")
    register(registry, make_result("torch-tight", target="torch-cpu-1t", top1=0.97), root / "files")
    return registry
