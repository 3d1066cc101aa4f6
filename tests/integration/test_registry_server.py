"""A server that several write to at once, and that tells others of a promotion."""

import http.server
import json
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import torch
from documents import blocks
from mlflow_server import Server, free_port
from registry_cases import files, make_network, make_result, open_registry, register
from repository import ROOT

from orchestrator.registry.choice import aliases_of
from orchestrator.registry.store import Registry

NUM_PROCESSES = 8
MODEL = "night-ort-cpu-1t"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # It sends webhooks to this machine, and unencrypted, for this test only.
    allowed = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
    server = Server(tmp_path_factory.mktemp("server"), free_port(), allowed)
    server.start()
    yield server
    server.stop()


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


@pytest.mark.timeout(900)
def test_networks_that_are_registered_at_once_are_each_there_once(server: Server, tmp_path: Path) -> None:
    registry = Registry(server.uri, "tests")
    registry.open_sweep("night", {})
    (tmp_path / "warm").mkdir()
    process = multiprocessing.get_context("spawn").Process(target=register_at_once, args=(server.uri, tmp_path))
    process.start()
    process.join(600)
    assert json.loads((tmp_path / "codes.json").read_text()) == [0] * NUM_PROCESSES
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
    fetched = registry.pull("night", "ort-cpu-1t", tmp_path / "net", alias="fastest")
    assert fetched["trial"] == "t0"


@pytest.mark.timeout(300)
def test_a_promotion_is_told_to_the_documented_webhook(server: Server, tmp_path: Path) -> None:
    heard: Queue[dict[str, Any]] = Queue()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *message: object) -> None:
            pass

    (snippet,) = [block for block in blocks(ROOT / "docs" / "delivery.md") if block.file == "webhook.py"]
    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            text = snippet.text.replace("http://mlflow:5000", server.uri)
            exec(text.replace("https://ci.example.com/deploy", f"http://127.0.0.1:{listener.server_port}/"), {})
            registry = Registry(server.uri, "tests")
            registry.open_sweep("told", {})
            register(registry, make_result("t", sweep="told"), tmp_path / "files")
            registry.promote("told-ort-cpu-1t", 1, "champion")
            told = []
            while not told or told[-1]["data"]["alias"] != "champion":
                told.append(heard.get(timeout=120))
        finally:
            listener.shutdown()
            thread.join()
    assert told[-1]["data"] == {"name": "told-ort-cpu-1t", "alias": "champion", "version": "1"}
    assert (told[-1]["entity"], told[-1]["action"]) == ("model_version_alias", "created")
