"""The process that measures: started with a controlled environment, it forks itself for each job. Knows no tables.

Why a process of its own: thread counts and allocator settings take effect at start-up only, and a Ray worker, a
notebook and a shell would each measure something else. Why it forks: starting one takes seconds, all of them imports,
and whoever measures several times on a target keeps it; each job still begins where nothing has run but imports.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Self

from latency.measuring.job import Job, JobResult, Progress, require_runnable
from latency.runtimes.base import load_runtime
from latency.target import Target
from supernet.errors import RunError, error_from_plain
from supernet.plain import read_json, to_json

JOB_FILE, RESULT_FILE, FAILURE_FILE, ERRORS_FILE = "job.json", "result.json", "failure.json", "errors.txt"
"""What the two sides leave each other in the folder of a job."""

WAITING = "waiting for another measurement on this machine"
"""Said where one runs: two at once would disturb each other."""


@dataclass(frozen=True)
class Said:
    """A line of the process about a job: what is being done, and how much of it is done, 0..1."""

    text: str
    share: float


@dataclass(frozen=True)
class Ended:
    """Its last line about a job."""

    status: int


class MeasuringProcess:
    """A process that measures on one target, started with the first job; a context manager that ends it.

    A job that fails ends it as well, with whatever that has started; the next job starts one.

    Args:
        target: Jobs of this one only.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (it goes with this object)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, job: Job, progress: Progress = lambda text, share: None) -> JobResult:
        """Run a job in a fork of the process.

        Raises:
            NotRunnable: If this machine cannot run the target.
            InputError: If a model cannot be prepared for it.
            RunError: If the process fails.
        """
        assert job.target == self.target
        require_runnable(job.target)
        with tempfile.TemporaryDirectory(prefix="onepath-measure-") as name:
            folder = FilePath(name)
            (folder / JOB_FILE).write_text(to_json(job))
            status = self._ask(folder, progress)
            if status != 0:
                self.close()  # programs that the job has started may run on
                raise self._failure(status, folder)
            result: JobResult = read_json(JobResult, (folder / RESULT_FILE).read_text(), RESULT_FILE)
        return result

    def close(self) -> None:
        """End it, with everything that it has forked."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _ask(self, folder: FilePath, progress: Progress) -> int:
        """Have a job done; return its exit status. What breaks it off ends the process, and the next job starts one."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                print(folder, file=process.stdin, flush=True)
            for line in process.stdout:
                said: Said | Ended = read_json(Said | Ended, line, "measuring process")
                if isinstance(said, Ended):
                    return said.status
                progress(said.text, said.share)
            status = process.wait()
        except BaseException:
            self.close()
            raise
        self.close()
        return status

    def _start(self) -> subprocess.Popen[str]:
        traits = self.target.traits
        imports = traits.imports if traits.own_process else ()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "latency.measuring.child", *imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=child_environment(self.target, os.environ),
            start_new_session=True,
        )
        return self._process

    def _failure(self, status: int, folder: FilePath) -> Exception:
        if (folder / FAILURE_FILE).is_file():
            return error_from_plain(json.loads((folder / FAILURE_FILE).read_text()))
        self._errors.seek(0)
        said = self._errors.read() + ((folder / ERRORS_FILE).read_text() if (folder / ERRORS_FILE).is_file() else "")
        tail = "\n".join(said.strip().splitlines()[-12:])
        return RunError(f"target {self.target.name}: the measuring process ended with status {status}:\n{tail}")


def run_job(job: Job, progress: Progress = lambda text, share: None) -> JobResult:
    """Run one job in a process of its own.

    Raises: as `MeasuringProcess.run`.
    """
    with MeasuringProcess(job.target) as process:
        return process.run(job, progress)


def child_environment(target: Target, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the measuring process: thread counts set, pinning by others removed."""
    kept = {
        key: value
        for key, value in inherited.items()
        if not key.startswith(("OMP_", "KMP_", "GOMP_", "MKL_", "MALLOC_"))
    }
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": inherited.get("PYTHONDONTWRITEBYTECODE", ""),
        **target_environment(target),
    }


def target_environment(target: Target) -> dict[str, str]:
    """Return the variables that the milliseconds of a target hold with: threads, and what its runtime asks for."""
    threads = str(target.threads)
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": "1",
        **load_runtime(target.runtime).environment(target),
    }
