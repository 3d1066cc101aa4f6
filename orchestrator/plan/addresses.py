"""Where a sweep may be kept and where its registry may be: the schemes of both, and what to give instead of others.

It must not know what stands at an address, nor whether anything answers there.
"""

from urllib.parse import urlparse

from supernet.errors import InputError, nearest

STORAGES = ("file", "s3", "gs", "gcs", "abfs", "abfss")
REGISTRIES = ("sqlite", "http", "https", "databricks", "databricks-uc")
DATABASES = ("postgresql", "mysql", "mssql")

EMBEDDED = "mlflow.db"
"""The registry of a storage itself, beside its sweeps."""


def storage_address(uri: str) -> str:
    """Return an address that a storage may have, or a path.

    Raises:
        InputError: If its scheme is another one.
    """
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
        InputError: If it is another one, with what to give instead.
    """
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
    return uri
