"""The registry of a process that is killed at any of its writes: repeated, there is one of each."""

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from registry_cases import make_result, open_registry, register, results, state_of

WRITES = ("create_", "set_", "log_", "delete_", "update_", "finalize_")


def register_and_die(root: Path, sweep: str, fatal_write: int) -> None:
    """Register a trial in this process, which kills itself when MLflow is about to make its n-th write."""
    import mlflow

    registry = open_registry(root)
    count = 0

    def deadly(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == fatal_write:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        return call

    for name in dir(mlflow.MlflowClient):
        if name.startswith(WRITES):
            setattr(mlflow.MlflowClient, name, deadly(getattr(mlflow.MlflowClient, name)))
    registry.open_sweep(sweep, {})
    register(registry, make_result("t", sweep=sweep), root / "files")


def die_at_every_write(root: Path) -> None:
    """Fork a process for every n until one survives; what it imports is warm, the store it writes to untouched."""
    torch.set_num_threads(1)
    warm = open_registry(root / "warm")
    warm.open_sweep("warm", {})
    register(warm, make_result("t", sweep="warm"), root / "warm")
    deaths, status = 0, signal.SIGKILL.value
    while status == signal.SIGKILL:
        child = os.fork()
        if child == 0:
            register_and_die(root, f"kill{deaths}", deaths + 1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        deaths += status == signal.SIGKILL
    (root / "deaths.json").write_text(json.dumps([deaths, status]))


@pytest.mark.timeout(600)
def test_killed_at_any_write_and_repeated_leaves_one_of_each(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    root.mkdir()
    registry = open_registry(root)
    process = multiprocessing.get_context("spawn").Process(target=die_at_every_write, args=(root,))
    process.start()
    process.join(500)
    deaths, status = json.loads((root / "deaths.json").read_text())
    assert status == 0
    assert deaths >= 10
    for number in range(deaths + 1):
        sweep = f"kill{number}"
        registry.open_sweep(sweep, {})
        uri = register(registry, make_result("t", sweep=sweep), root / "files")
        assert state_of(registry, sweep, "t") == (1, 1, 1, "FINISHED")
        assert len(registry._client.search_runs([registry.experiment_id], f"attributes.run_name = '{sweep}'")) == 1
        assert results(registry, sweep) == [make_result("t", sweep=sweep, model_uri=uri)]
        best = registry._client.get_model_version_by_alias(f"{sweep}-ort-cpu-1t", "best")
        assert str(best.version) == uri.split("/")[-1]
    assert registry.pull("kill8", "ort-cpu-1t", tmp_path / "x", max_ms=2.0)["trial"] == "t"
