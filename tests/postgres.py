"""A PostgreSQL of its own for a test, on a port of this machine: `apt-get install postgresql`."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def program(name: str) -> str:
    """Return where a program of PostgreSQL is; distributions keep its versions apart, outside of PATH."""
    found = [
        shutil.which(name) or "",
        *map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)),
    ]
    there = [path for path in found if path]
    assert there, f"no program {name!r}: install PostgreSQL"
    return there[0]


@contextmanager
def postgres(port: int) -> Iterator[str]:
    """Run a server in a folder of its own, and give the address of its database."""
    user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else os.geteuid()  # it refuses root
    folder = Path(tempfile.mkdtemp(prefix="onepath-postgres-"))
    data, log = folder / "data", folder / "log"
    with log.open("ab") as said:
        os.chown(folder, user, -1)
        made = [program("initdb"), "-D", str(data), "-U", "onepath", "--auth=trust", "--encoding=UTF8"]
        subprocess.run(made, check=True, user=user, cwd=folder, stdout=said, stderr=said)
        runs = [program("postgres"), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        runs += ["-c", "unix_socket_directories="]
        server = subprocess.Popen(runs, user=user, cwd=folder, stdout=said, stderr=said)
        try:
            asks, end = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)], time.monotonic() + 60
            while subprocess.run(asks).returncode:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.2)
            yield f"postgresql+psycopg2://onepath@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(60)
            shutil.rmtree(folder)
