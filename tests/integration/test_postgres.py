"""The registry of a team: an MLflow server over HTTP, on PostgreSQL, with an artifact store of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_server import Server, free_port
from postgres import postgres
from promotion_told import ALLOWED, check_a_promotion_is_told
from registering_at_once import check_networks_registered_at_once


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with postgres(free_port()) as store:
        server = Server(tmp_path_factory.mktemp("server"), free_port(), ALLOWED, store=store)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.mark.timeout(900)
def test_networks_that_are_registered_at_once_on_postgresql_are_each_there_once(server: Server, tmp_path: Path) -> None:
    check_networks_registered_at_once(server.uri, tmp_path)


@pytest.mark.timeout(600)
def test_a_promotion_on_postgresql_is_told_to_the_documented_webhook(server: Server, tmp_path: Path) -> None:
    check_a_promotion_is_told(server.uri, tmp_path)
