"""Any external program as a runtime: it gets an ONNX file and prints milliseconds. Never a shell.

This is how a phone behind adb or a board behind ssh is reached. What a target says of it: `options.CommandOptions`.
"""

import hashlib
import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from latency.runtimes.base import Call, Host, Model, Program
from latency.runtimes.options import CommandOptions
from latency.target import Target
from supernet.errors import RunError

TO_MS = {"ms": 1.0, "us": 1e-3, "s": 1e3}


def missing(target: Target) -> str:
    """Say if its program is not there."""
    program = target.settings.command[0]
    return "" if shutil.which(program) else f"program {program!r} not found; install it or correct options.command"


def facts(target: Target) -> Mapping[str, Any]:
    """Return hashes of the files that the command names: another script is another way of measuring."""
    program, *arguments = target.settings.command
    files = [found for found in [shutil.which(program)] if found]
    files += [argument for argument in arguments if os.path.isfile(argument)]  # a path, or a text of any length
    return {"files": {file: hashlib.sha256(FilePath(file).read_bytes()).hexdigest()[:16] for file in files}}


def environment(target: Target) -> Mapping[str, str]:
    """Nothing is needed."""
    return {}


def prepare(model: Model, target: Target, host: Host) -> Program:
    """Write the model; each timing runs the program once."""
    graph = model.int8() if target.precision == "int8" else model.onnx()
    folder = tempfile.TemporaryDirectory(prefix="onepath-command-")
    file = FilePath(folder.name) / "model.onnx"
    file.write_bytes(graph)

    def time(num_calls: int) -> list[Call]:
        assert folder.name, "keeps the folder as long as the program"
        return [Call(ms, True) for ms in run_command(target, file, num_calls)]

    return Program(time, None)


def run_command(target: Target, model: FilePath, num_calls: int) -> list[float]:
    """Run the program once.

    Returns:
        The milliseconds it printed, one or more.

    Raises:
        RunError: If it cannot be started, fails, takes too long or prints something else.
    """
    values = {"model": str(model), "runs": num_calls, "threads": target.threads, "batch": target.batch}
    options: CommandOptions = target.settings
    arguments = [_fill(argument, values) for argument in options.command]
    seconds = options.timeout_seconds
    place = f"target {target.name}: {arguments[0]}"
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise RunError(f"{place} cannot be started: {error.strerror}") from error
    try:
        printed, complaints = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        process.kill()  # what it has started itself goes with the measuring process, whose group it is in
        process.wait()
        raise RunError(f"{place} took more than {seconds:g} s and was ended (options.timeout_seconds)") from error
    if process.returncode != 0:
        tail = "; ".join(complaints.strip().splitlines()[-3:]) or "nothing on standard error"
        raise RunError(f"{place} ended with status {process.returncode}: {tail}")
    return _milliseconds(options, printed, place)


def _milliseconds(options: CommandOptions, printed: str, place: str) -> list[float]:
    pattern = options.pattern
    words = re.findall(pattern, printed) if pattern else printed.split()
    if not words:
        wanted = f"nothing that matches {pattern!r}" if pattern else "nothing"
        raise RunError(f"{place} printed {wanted}; expected milliseconds on standard output")
    found = []
    for word in words:
        try:
            ms = float(word) * TO_MS[options.unit]
        except ValueError:
            ms = math.nan
        if not (math.isfinite(ms) and ms > 0):
            raise RunError(f"{place} printed {word[:60]!r}; expected positive numbers only (or set options.pattern)")
        found.append(ms)
    return found


def _fill(argument: str, values: Mapping[str, Any]) -> str:
    for key, value in values.items():
        argument = argument.replace("{" + key + "}", str(value))
    return argument
