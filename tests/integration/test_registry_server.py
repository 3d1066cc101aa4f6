"""A server that several write to at once, and that tells others of a promotion."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_server import Server, free_port
from promotion_told import ALLOWED, check_a_promotion_is_told
from registering_at_once import check_networks_registered_at_once


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), free_port(), ALLOWED)
    server.start()
    yield server
    server.stop()


@pytest.mark.timeout(900)
def test_networks_that_are_registered_at_once_are_each_there_once(server: Server, tmp_path: Path) -> None:
    check_networks_registered_at_once(server.uri, tmp_path)


@pytest.mark.timeout(300)
def test_a_promotion_is_told_to_the_documented_webhook(server: Server, tmp_path: Path) -> None:
    check_a_promotion_is_told(server.uri, tmp_path)
