"""Processes that register their networks in one server at the same time, and what must be there afterwards."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import torch
from registry_cases import files, make_network, make_result, open_registry, register

from orchestrator.registry.choice import aliases_of
from orchestrator.registry.store import Registry

NUM_PROCESSES = 8
MODEL = "night-ort-cpu-1t"


def check_networks_registered_at_once(uri: str, root: Path) -> None:
    """Register from several processes at once; each network is there once, with its files and its names."""
    registry = Registry(uri, "tests")
    registry.open_sweep("night", {})
    (root / "warm").mkdir()
    process = multiprocessing.get_context("spawn").Process(target=register_at_once, args=(uri, root))
    process.start()
    process.join(600)
    assert json.loads((root / "codes.json").read_text()) == [0] * NUM_PROCESSES
    networks = registry.networks("night")
    assert {network.result.trial for network in networks} == {f"t{number}" for number in range(NUM_PROCESSES)}
    assert sorted(network.version for network in networks) == list(range(1, NUM_PROCESSES + 1))
    assert registry.lacks([network.result for network in networks]) == []
    client, where = registry._client, "tags.`onepath.sweep` = 'night'"
    assert len(client.search_model_versions(where)) == NUM_PROCESSES
    assert len(client.search_logged_models([registry.experiment_id], where)) == NUM_PROCESSES
    runs = client.search_runs([registry.experiment_id], f"{where} and tags.`onepath.role` = 'trial'")
    assert sorted(run.info.status for run in runs) == ["FINISHED"] * NUM_PROCESSES
    expected = aliases_of({str(network.version): network.result for network in networks})
    found = {alias: str(version) for alias, version in client.get_registered_model(MODEL).aliases.items()}
    assert found == expected
    assert len(found) == 3 + NUM_PROCESSES
    fetched = registry.pull("night", "ort-cpu-1t", root / "net", alias="fastest")
    assert fetched["trial"] == "t0"


def register_one(uri: str, root: Path, number: int, barrier: Any) -> None:
    """Register one network of the sweep, when all are ready to."""
    registry = Registry(uri, "tests")
    made = files(root / f"files{number}", make_network(number))
    barrier.wait(300)
    registry.register(result_of(number), made)


def result_of(number: int) -> Any:
    numbers = {"cost": 1.0 + number, "top1": 0.5 + 0.05 * number, "validation_top1": 0.5 + 0.05 * (number**0.5)}
    return make_result(f"t{number}", budget=1.5 + number, **numbers)


def register_at_once(uri: str, root: Path) -> None:
    """Fork the processes from this one: what they import is warm, so that they write at the same time."""
    torch.set_num_threads(1)
    warm = open_registry(root / "warm")
    warm.open_sweep("night", {})
    register(warm, make_result("t"), root / "warm")
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(NUM_PROCESSES)
    started = [fork.Process(target=register_one, args=(uri, root, number, barrier)) for number in range(NUM_PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    codes = [process.exitcode for process in started]
    (root / "codes.json").write_text(json.dumps(codes))
