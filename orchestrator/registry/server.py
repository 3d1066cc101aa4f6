"""Whether a tracking server answers and is of a version that this product speaks to; asked before anything starts.

Why here: left to itself, MLflow tries for minutes and then tells of connection pools. It knows no sweep; it is handed
the MLflow module by `orchestrator.registry.connection`.
"""

from typing import Any

from supernet.errors import RunError

OLDEST = (3, 0)
"""Logged models, which every version here is made from, came with 3.0."""

SECONDS = 20
"""A server may take to answer."""


class RegistryAway(RunError):
    """The registry does not answer now; it may later."""


def require_version(mlflow: Any, address: str) -> None:
    """Ask a server for its version, once.

    Raises:
        RegistryAway: If it does not answer, or with 5xx, as what stands in front of it does while it starts.
        RunError: If it refuses, is no MLflow server, or an older one.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    credentials = get_default_host_creds(address)
    place = f"MLflow at {address}"
    try:
        answer = http_request(credentials, "/version", "GET", max_retries=0, timeout=SECONDS, raise_on_status=False)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        cause = str(error).rsplit("Caused by", 1)[-1].strip(" ()")
        raise RegistryAway(f"{place}: not reachable ({cause}); start it, or correct mlflow.tracking_uri") from error
    text = str(answer.text).strip()
    if answer.status_code >= 500:
        raise RegistryAway(f"{place}: answers {answer.status_code} when asked for its version; see what it logs")
    if answer.status_code != 200:
        raise RunError(f"{place}: answers {answer.status_code} when asked for its version; is this an MLflow server?")
    try:
        version = tuple(int(part) for part in text.split(".")[:2])
    except ValueError:
        raise RunError(f"{place}: {text[:40]!r} is no version of MLflow; correct mlflow.tracking_uri") from None
    if version < OLDEST:
        raise RunError(f"{place}: version {text}; at least {OLDEST[0]}.{OLDEST[1]} is needed")
