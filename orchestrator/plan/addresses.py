"""Where a sweep may be kept and where its registry may be: the schemes of both, and what to give instead of others.

It must not know what stands at an address, nor whether anything answers there. No address holds a secret: it is stored
with the sweep, and shown in its report and in MLflow.
"""

from urllib.parse import parse_qs, urlparse

from supernet.errors import InputError, SecretError, nearest

STORAGES = ("file", "s3", "gs", "gcs", "abfs", "abfss")
REGISTRIES = ("sqlite", "http", "https", "databricks", "databricks-uc")
DATABASES = ("postgresql", "mysql", "mssql")

SECRETS = ("client_secret", "sig")
"""Options of an object store's address that are secrets."""

STORE_VARIABLES = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, or AZURE_TENANT_ID, AZURE_CLIENT_ID "
    "and AZURE_CLIENT_SECRET"
)
REGISTRY_VARIABLES = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"

EMBEDDED = "mlflow.db"
"""The registry of a storage itself, beside its sweeps."""


def files_address(text: str) -> str:
    """Return what may name files, such as an address or a path, unless there is a secret in it.

    Raises:
        SecretError: If there is.
    """
    _refuse_secret(text, STORE_VARIABLES)
    return text


def _refuse_secret(uri: str, variables: str) -> None:
    if "://" not in uri:
        return
    parts = urlparse(uri)
    named = parts.scheme in ("s3", "http", "https") and parts.username  # elsewhere it is a container, or `anonymous`
    if named or parts.password or parse_qs(parts.query).keys() & set(SECRETS):
        raise SecretError(
            "a user, key or password in an address would be stored with the sweep and shown in its report; leave it "
            f"out, and set it in the environment ({variables})"
        )


def storage_address(uri: str) -> str:
    """Return an address that a storage may have, or a path.

    Raises:
        InputError: If its scheme is another one, or there is a secret in it.
    """
    files_address(uri)
    scheme = uri.partition("://")[0] if "://" in uri else "file"
    if scheme not in STORAGES:
        raise InputError(f"unknown scheme {scheme!r}{nearest(scheme, STORAGES)}; or give a path")
    return uri


def embedded_registry(root: str) -> str:
    """Return the address of the registry in a storage, which is a folder."""
    return f"sqlite:///{root}/{EMBEDDED}"


def registry_address(uri: str) -> str:
    """Return an address that a registry may have.

    Raises:
        InputError: If it is another one, with what to give instead, or there is a secret in it.
    """
    _refuse_secret(uri, REGISTRY_VARIABLES)
    scheme = urlparse(uri).scheme.partition("+")[0]
    if scheme in DATABASES:  # by itself MLflow would leave the networks' files in the working directory
        raise InputError(
            f"a {scheme} database keeps no files of networks; start `mlflow server` over it, with an artifact store "
            "(--backend-store-uri, --artifacts-destination), and give the server's http address"
        )
    if scheme not in REGISTRIES:
        raise InputError(
            f"unknown scheme {scheme!r}{nearest(scheme, REGISTRIES)}; give the http address of a tracking server, or "
            "sqlite:////absolute/path/mlflow.db"
        )
    if scheme == "sqlite" and "?" in uri:
        raise InputError(f"{uri}: SQLite would open what stands before the '?'; use a folder without one in its name")
    return uri
