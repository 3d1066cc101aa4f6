"""Runs where several processes write at the same moment, by a client that plays them."""

from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.registry.runs import Runs

TAKEN = 'BAD_REQUEST: (psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint "dataset_pk"'


class Refused(Exception):
    """Stands for MLflow's error."""


class Client:
    """Refuses a data set as often as told, with a message."""

    def __init__(self, message: str, times: int) -> None:
        self.message, self.left, self.linked = message, times, 0

    def search_runs(self, *arguments: Any, **more: Any) -> list[Any]:
        return [SimpleNamespace(info=SimpleNamespace(run_id="run"))]

    def log_inputs(self, run_id: str, datasets: Any) -> None:
        if self.left:
            self.left -= 1
            raise Refused(self.message)
        self.linked += len(datasets)


def runs_of(client: Client) -> Runs:
    def made(*arguments: Any, **more: Any) -> Any:
        return arguments

    entities = SimpleNamespace(Dataset=made, InputTag=made, DatasetInput=made)
    return Runs(SimpleNamespace(entities=entities, exceptions=SimpleNamespace(MlflowException=Refused)), client, "1")


def test_a_data_set_that_another_process_makes_at_the_same_moment_is_linked() -> None:
    client = Client(TAKEN, 2)
    runs_of(client).link_data("night", "f00d", {"train": 3, "test": 2})
    assert client.linked == 2


def test_another_refusal_is_told() -> None:
    with pytest.raises(Refused, match="no room"):
        runs_of(Client("no room", 1)).link_data("night", "f00d", {"test": 2})
