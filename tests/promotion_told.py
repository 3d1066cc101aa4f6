"""A promotion that a server tells of: to a listener of the test's own, by the webhook that docs/delivery.md makes."""

import http.server
import json
import threading
from pathlib import Path
from queue import Queue
from typing import Any

from documents import blocks
from registry_cases import make_result, register
from repository import ROOT

from orchestrator.registry.store import Registry

# A server tells this machine, and unencrypted, in tests only; it remembers which webhooks there are for a minute.
ALLOWED = {
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "1",
}


def check_a_promotion_is_told(uri: str, folder: Path) -> None:
    """Promote a network on a server that runs with `ALLOWED`, and hold what is heard against the document."""
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
            text = snippet.text.replace("http://mlflow:5000", uri)
            exec(text.replace("https://ci.example.com/deploy", f"http://127.0.0.1:{listener.server_port}/"), {})
            registry = Registry(uri, "tests")
            registry.open_sweep("told", {})
            register(registry, make_result("t", sweep="told"), folder / "files")
            registry.promote("told-ort-cpu-1t", 1, "champion")
            told = []
            while not told or told[-1]["data"]["alias"] != "champion":
                told.append(heard.get(timeout=120))
        finally:
            listener.shutdown()
            thread.join()
    assert told[-1]["data"] == {"name": "told-ort-cpu-1t", "alias": "champion", "version": "1"}
    assert (told[-1]["entity"], told[-1]["action"]) == ("model_version_alias", "created")
