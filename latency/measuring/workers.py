"""One process per timed model, forked from a clean one: each runs as it would alone, and in turns with the others.

Why: models that share a process share its heap, and the tenth network built in it is some per cent slower than
the same network alone. Starting a process takes seconds, forking one that has only imported takes milliseconds.
"""

import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO

from latency.runtimes.base import Call, Program
from supernet.errors import InputError, RunError, error_from_plain, error_to_plain

Prepare = Callable[[], tuple[Program, dict[str, Any]]]
"""Makes a program, and plain facts about it, in the worker."""


@dataclass
class Worker:
    """A forked process that holds one program and times it when asked.

    Attributes:
        name: For messages.
        pid: Of the process.
        requests: To it, one JSON line each.
        answers: From it.
        cpu_seconds: Processor time it had used at its last answer.
    """

    name: str
    pid: int
    requests: TextIO
    answers: TextIO
    cpu_seconds: float = 0.0

    def ready(self) -> dict[str, Any]:
        """Wait until its program is prepared; return the facts.

        Raises:
            InputError: If the program cannot be made from what the user gave.
            RunError: If making it failed, or the process died.
        """
        return self._answer()

    def time(self, num_calls: int, cores: Sequence[int] = ()) -> list[Call]:
        """Have it time some calls, on these cores if any are given."""
        print(json.dumps([num_calls, list(cores)]), file=self.requests, flush=True)
        answer = self._answer()
        self.cpu_seconds = answer["cpu"]
        return [Call(ms, bool(clean)) for ms, clean in zip(answer["ms"], answer["clean"], strict=True)]

    def close(self) -> None:
        """End the process."""
        self.requests.close()
        self.answers.close()
        os.waitpid(self.pid, 0)

    def _answer(self) -> dict[str, Any]:
        line = self.answers.readline()
        if not line:
            raise RunError(f"{self.name}: the process that held it died (out of memory?)")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise error_from_plain({**answer, "text": f"{self.name}: {answer['text']}"})
        return answer


def fork_worker(name: str, prepare: Prepare, siblings: Sequence[Worker]) -> Worker:
    """Fork a worker that prepares its program at once.

    Args:
        name: For messages.
        prepare: Runs in the worker.
        siblings: Workers so far: their pipes are closed in the new one, so that each sees when its parent is gone.
    """
    requests_read, requests_write = os.pipe()
    answers_read, answers_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        for other in siblings:
            other.requests.close()
            other.answers.close()
        os.close(requests_write)
        os.close(answers_read)
        _serve(prepare, os.fdopen(requests_read), os.fdopen(answers_write, "w"))
    os.close(requests_read)
    os.close(answers_write)
    return Worker(name, pid, os.fdopen(requests_write, "w"), os.fdopen(answers_read))


def _serve(prepare: Prepare, requests: TextIO, answers: TextIO) -> NoReturn:
    """Answer requests until there are no more; never return into the forked copy of the parent."""

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    status = 1
    try:
        program, facts = prepare()
        answer(facts)
        pinned: list[int] = []
        for line in requests:
            num_calls, cores = json.loads(line)
            if cores and cores != pinned:
                _pin(cores)
                pinned = cores
            calls = program.time(num_calls)
            cpu = time.process_time()
            answer({"ms": [call.ms for call in calls], "clean": [int(call.clean) for call in calls], "cpu": cpu})
        status = 0
    except BrokenPipeError:
        pass
    except (InputError, RunError) as error:
        answer(error_to_plain(error))
    except Exception as error:
        traceback.print_exc()
        answer(error_to_plain(RunError(f"{type(error).__name__}: {error}")))
    finally:
        os._exit(status)


def _pin(cores: Sequence[int]) -> None:
    """Pin every thread of this process: a runtime starts its own when it prepares a model."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)
