"""Which addresses a storage and a registry may have. That a configuration refuses others stands in test_config."""

import pytest

from orchestrator.plan.addresses import registry_address, storage_address
from supernet.errors import InputError


@pytest.mark.parametrize(
    "uri", ["runs", "/runs", "file:///runs", "s3://bucket/runs?endpoint=x", "gs://b", "abfss://c@a/x"]
)
def test_a_storage_is_a_path_or_an_object_store(uri: str) -> None:
    assert storage_address(uri) == uri


@pytest.mark.parametrize(
    "uri", ["s3://key:secret@b", "s3://key@b", "abfss://c:pass@a/x", "abfs://c@a/x?client_secret=s", "abfs://c@a?sig=s"]
)
def test_a_secret_in_a_storages_address_belongs_in_the_environment(uri: str) -> None:
    with pytest.raises(InputError, match=r"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.* AZURE_CLIENT_SECRET"):
        storage_address(uri)


@pytest.mark.parametrize("uri", ["http://user:pass@host", "https://user@host:5000"])
def test_a_secret_in_a_registrys_address_belongs_in_the_environment(uri: str) -> None:
    with pytest.raises(InputError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"):
        registry_address(uri)


@pytest.mark.parametrize("uri", ["sqlite:////a/mlflow.db", "http://host:5000", "https://host"])
def test_a_registry_is_a_server_or_a_file(uri: str) -> None:
    assert registry_address(uri) == uri


def test_others_are_refused_with_what_to_give() -> None:
    with pytest.raises(InputError, match=r"unknown scheme 's4'.*or give a path"):
        storage_address("s4://bucket")
    with pytest.raises(InputError, match="start `mlflow server` over it"):
        registry_address("postgresql+psycopg2://u@db/mlflow")
    with pytest.raises(InputError, match="did you mean 'http'"):
        registry_address("htp://x")
    with pytest.raises(InputError, match="use a folder without one in its name"):
        registry_address("sqlite:////which?/mlflow.db")
