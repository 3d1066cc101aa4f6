"""Which errors of MLflow's say that a registry is away: a server that plays them, and a database."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.registry.connection import Connection
from orchestrator.registry.server import RegistryAway
from supernet.errors import RunError


class Play(http.server.ThreadingHTTPServer):
    """Tells its version by one status, and answers every call by another one; 0 hangs up."""

    version, calls = 200, 200


class Handler(http.server.BaseHTTPRequestHandler):
    server: Play

    def do_GET(self) -> None:
        asked = self.path == "/version"
        status = self.server.version if asked else self.server.calls
        if not status:
            self.connection.close()
            return
        self.send_response(status)
        self.end_headers()
        told = {"error_code": "INTERNAL_ERROR" if status >= 500 else "RESOURCE_DOES_NOT_EXIST", "message": "told"}
        self.wfile.write(b"3.1.0" if asked else json.dumps(told).encode())

    do_POST = do_GET

    def log_message(self, *message: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with Play(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [500, 503, 0])
def test_a_server_whose_calls_fail_while_it_tells_its_version_is_away(server: Play, status: int) -> None:
    """Said before: an error that is not waited for."""
    connection = Connection(f"http://127.0.0.1:{server.server_port}")
    server.calls = status
    with pytest.raises(RegistryAway, match="MLflow at http"), connection.calls():
        connection.client.get_run("0")


def test_a_proxy_without_its_server_is_away_and_a_refusal_is_none(server: Play) -> None:
    connection = Connection(f"http://127.0.0.1:{server.server_port}")
    server.calls = 404
    with pytest.raises(RunError) as told, connection.calls():
        connection.client.get_run("0")
    assert not isinstance(told.value, RegistryAway)
    server.calls = server.version = 502
    with pytest.raises(RegistryAway, match="answers 502"), connection.calls():
        connection.client.get_run("0")


def test_a_database_that_does_not_answer_is_away_and_a_full_disk_is_not(tmp_path: Path) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
    from sqlalchemy.exc import OperationalError

    connection = Connection(f"sqlite:///{tmp_path}/mlflow.db")
    lost = OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly"))
    wrapped = MlflowException("of another kind")
    wrapped.__cause__ = lost
    for error in (lost, wrapped, MlflowException("gone", error_code=TEMPORARILY_UNAVAILABLE)):
        with pytest.raises(RegistryAway), connection.calls():
            raise error
    for error in (OSError("No space left on device"), MlflowException("of our own making")):
        with pytest.raises(RunError) as told, connection.calls():
            raise error
        assert not isinstance(told.value, RegistryAway)
