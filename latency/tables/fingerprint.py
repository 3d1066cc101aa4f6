"""What a table was measured on: processor, runtime, versions, settings. Two that differ are not comparable.

Why here: a stale table must be found without measuring anything, so nothing heavy is imported.
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Any

from latency.measuring.machine import cpu_facts, versions
from latency.runtimes.base import load_runtime
from latency.target import Target
from supernet.space import Space

PROTOCOL_ON_CORES, PROTOCOL_ELSEWHERE = 3, 4
"""Of targets that time each model in a process of its own, and of others: raised when the way of measuring changes so
that old tables no longer compare."""


def fingerprint(space: Space, target: Target) -> dict[str, Any]:
    """Return the fingerprint that a table of this space and target would have if it were built here now."""
    runtime, traits = load_runtime(target.runtime), target.traits
    remote = traits.external and target.device != traits.device
    return {
        "protocol": PROTOCOL_ON_CORES if traits.own_process else PROTOCOL_ELSEWHERE,
        "space": space_hash(space),
        **_settings(target),
        **({} if remote else cpu_facts()),
        "versions": versions(traits.needs),
        **runtime.facts(target),
    }


def space_hash(space: Space) -> str:
    """Return a hash of what decides latencies: input, layers, candidates, and the code of own operators.

    Of these it sees their module, or all files of their package; not what is imported from elsewhere.
    """
    layers = [{key: value for key, value in asdict(layer).items() if key != "row"} for layer in space.layers]
    definition = {"input_size": space.input_size, "layers": layers, "operators": _source_hash(space.operators)}
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:16]


def definition_hash(space: Space, target: Target) -> str:
    """Return a short hash of what decides latencies on any machine: the space's layers and the target's settings."""
    return short_hash([space_hash(space), _settings(target)])


def short_hash(facts: Any) -> str:
    """Return a short hash of plain data, such as a fingerprint: for names of files."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def _settings(target: Target) -> dict[str, Any]:
    return {key: value for key, value in target.to_dict().items() if key != "name"}


def differences(stored: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return one text per field that differs, for messages."""
    texts = []
    for key in sorted(stored.keys() | here.keys()):
        old, new = (json.loads(json.dumps(side.get(key))) for side in (stored, here))
        if old != new:
            texts.append(f"{key}: {_short(old)} in the table, {_short(new)} here")
    return texts


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _source_hash(module: str) -> str:
    if not module:
        return ""
    spec = importlib.util.find_spec(module)
    if spec is None:
        return module
    content = b"".join(map(_named_source, spec.submodule_search_locations or ()))
    if not content and spec.origin is not None:
        content = FilePath(spec.origin).read_bytes()
    return hashlib.sha256(content).hexdigest()[:16] if content else module


def _named_source(folder: str) -> bytes:
    """Return all source files of a package, each after its name."""
    files = {file.relative_to(folder).as_posix(): file for file in FilePath(folder).rglob("*.py")}
    return b"\0".join(name.encode() + b"\0" + files[name].read_bytes() for name in sorted(files))
