"""An MLflow server on a port of this machine, for tests that want one, or want it away."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Server:
    """An MLflow server that can be taken away and brought back; on a SQLite of its own where no `store` is given."""

    def __init__(self, folder: Path, port: int, environment: Mapping[str, str] | None = None, store: str = "") -> None:
        self.folder, self.uri, self.port = folder, f"http://127.0.0.1:{port}", port
        self.store = store or f"sqlite:///{folder}/server.db"
        self.environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", self.store]
        command += ["--artifacts-destination", str(self.folder / "served")]
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | self.environment, start_new_session=True
        )
        end = time.monotonic() + 240
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/version", timeout=5).read()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                assert time.monotonic() < end
                time.sleep(0.5)

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None
