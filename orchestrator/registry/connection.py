"""MLflow as it is spoken to here: imported quietly, turned to one store, its errors told as ours.

Why here: MLflow is imported here and nowhere before a `Connection` is made. It must not know sweeps, nor results.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlparse

from orchestrator.registry.server import RegistryAway, require_version
from supernet.errors import RunError

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
"""What is set where the user's environment does not; MLflow waits 120 seconds for an answer, five times.

Files go by the same timeout: a server may take a good part of a minute to hand a large one on to its store.
"""


class Connection:
    """MLflow turned to one tracking store.

    Args:
        tracking_uri: The store's address.

    Attributes:
        mlflow: The module.
        client: A client of the store.

    Raises:
        RunError: If it is a server that does not answer, or one of another version.
    """

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri
        self._remote = urlparse(tracking_uri).scheme in ("http", "https")
        self.mlflow = _quiet_mlflow()
        if self._remote:
            require_version(self.mlflow, tracking_uri)
        with self.calls():
            self.client: Any = self.mlflow.MlflowClient(tracking_uri)

    @contextlib.contextmanager
    def calls(self) -> Iterator[None]:
        """Keep MLflow quiet, speaking to this store, and turn its errors into ours."""
        from sqlalchemy.exc import SQLAlchemyError

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.mlflow.get_tracking_uri() != self.tracking_uri:  # parts of MLflow know only the global one
                self.mlflow.set_tracking_uri(self.tracking_uri)
                # It also remembers where a run's files are by the run alone; a copied registry has the same runs.
                self.mlflow.tracking._tracking_service.utils._artifact_repos_cache.clear()
            try:
                yield
            except (self.mlflow.exceptions.MlflowException, SQLAlchemyError, OSError) as error:
                raise self._told(error) from error

    def _told(self, error: Exception) -> RunError:
        """Return an error of MLflow's as ours, telling a registry that is away from one that refuses."""
        if self._remote:
            try:
                require_version(self.mlflow, self.tracking_uri)
            except RunError as away:
                return away
        kind = RegistryAway if _is_away(error, remote=self._remote) else RunError
        return kind(f"MLflow at {self.tracking_uri}: {error}")


def _is_away(error: Exception, *, remote: bool) -> bool:
    """Whether an error says that the database does not answer now, or the server that is in front of it.

    A server may tell its version while its database fails over, and be there again when it is asked for it. Then calls
    have failed with 5xx, or without an answer, which MLflow tells as an error of 500 too.
    """
    from requests.exceptions import ConnectionError, HTTPError, Timeout
    from sqlalchemy.exc import OperationalError

    if isinstance(error, OperationalError) or isinstance(error.__cause__, OperationalError):
        return True
    if isinstance(error, HTTPError):  # of files
        return remote and error.response is not None and error.response.status_code >= 500
    if isinstance(error, OSError):
        return remote and isinstance(error, ConnectionError | Timeout)
    if getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE":
        return True
    return remote and getattr(error, "get_http_status_code", int)() >= 500


def doubled(error: Exception) -> bool:
    """Whether an error of MLflow's says that another process made the same entry at the same moment: it is there now.

    MLflow looks before it inserts, and hands on what the database says of the second one.
    """
    return any(word in str(error) for word in ("IntegrityError", "UniqueViolation"))


def _quiet_mlflow() -> Any:
    """Import MLflow so that nothing of it reaches the terminal."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        import mlflow.pytorch
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    return mlflow
