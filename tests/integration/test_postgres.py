"""The registry of a team: an MLflow server over HTTP, on PostgreSQL, with an artifact store of its own."""

from pathlib import Path

import pytest
from mlflow_server import Server, free_port
from postgres import postgres
from registering_at_once import check_networks_registered_at_once


@pytest.mark.timeout(900)
def test_networks_that_are_registered_at_once_on_postgresql_are_each_there_once(tmp_path: Path) -> None:
    with postgres(free_port()) as store:
        server = Server(tmp_path, free_port(), store=store)
        server.start()
        try:
            check_networks_registered_at_once(server.uri, tmp_path)
        finally:
            server.stop()
