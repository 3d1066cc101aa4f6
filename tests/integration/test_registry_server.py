"""A server that several write to at once, and that tells others of a promotion."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from documents import blocks
from mlflow_server import Server, free_port
from registering_at_once import check_networks_registered_at_once
from registry_cases import make_result, register
from repository import ROOT

from orchestrator.registry.store import Registry


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # It sends webhooks to this machine, and unencrypted, for this test only.
    allowed = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
    allowed["MLFLOW_WEBHOOK_CACHE_TTL"] = "1"  # seconds; it remembers which webhooks there are for a minute
    server = Server(tmp_path_factory.mktemp("server"), free_port(), allowed)
    server.start()
    yield server
    server.stop()


@pytest.mark.timeout(900)
def test_networks_that_are_registered_at_once_are_each_there_once(server: Server, tmp_path: Path) -> None:
    check_networks_registered_at_once(server.uri, tmp_path)


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
