"""Mutated configurations, spaces, targets and stored files: each ends in a clear error or in a checked meaning.

`FUZZ_SEED` and `FUZZ_COUNT` choose other mutations and more of them (`make fuzz`).
"""

import copy
import json
import math
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from latency.target import load_target, read_target
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.continued import stored_config
from orchestrator.plan.trials import CONFIG_FILE, Job, plan_trials
from supernet.errors import InputError
from supernet.plain import check_name
from supernet.presets import CONFIGS, load_space, read_preset, space_definition
from supernet.space import architecture_from_json, architecture_to_json, read_space
from supernet.yaml_text import parse_yaml

SEED, COUNT = int(os.environ.get("FUZZ_SEED", "0")), int(os.environ.get("FUZZ_COUNT", "100"))
NONSENSE: list[Any] = [None, True, False, 0, -1, 1, 3000, 10**30, -0.5, 1e300, math.nan, math.inf]
NONSENSE += ["", "..", "../x", "a\nb", "\x00", "x" * 5000, "é", "no.such", "digits", "ort-cpu-1t"]
NONSENSE += [[], [[]], {}, {"a": 1}, ["a", None], [1, 2, 3], [0.5] * 2000, {"base": "digits"}]


def places(plain: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every value in plain data."""
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [here, *(place for key, value in inner for place in places(value, (*here, key)))]


def mutated(plain: Any, rng: random.Random) -> Any:
    """Return plain data with one to three values replaced, removed, added or doubled."""
    plain = json.loads(json.dumps(plain))
    for _ in range(rng.choice((1, 1, 2, 3))):
        *way, last = rng.choice([place for place in places(plain) if place] or [("x",)])
        parent = plain
        for key in way:
            parent = parent[key]
        kind = rng.choice(("replace", "replace", "replace", "remove", "add", "double"))
        if kind == "remove":
            del parent[last]
        elif kind == "add" and isinstance(parent, dict):
            parent[rng.choice((f"{last}s", "x", ""))] = copy.deepcopy(rng.choice(NONSENSE))
        elif kind == "double" and isinstance(parent, list):
            parent.append(parent[last])
        else:
            parent[last] = copy.deepcopy(rng.choice(NONSENSE))
    return plain


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return bytes cut short, with bits flipped, or with a piece twice or missing."""
    start, end = sorted(rng.randrange(len(content)) for _ in range(2))
    flipped = bytearray(content)
    for _ in range(rng.choice((1, 3))):
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return rng.choice(
        (content[:start], bytes(flipped), content[:end] + content[start:], content[:start] + content[end:])
    )


def finite(plain: Any) -> bool:
    """Whether no number anywhere in plain data is NaN or infinite."""
    if isinstance(plain, dict | list | tuple):
        return all(map(finite, plain.values() if isinstance(plain, dict) else plain))
    return not isinstance(plain, float) or math.isfinite(plain)


def run_definition() -> dict[str, Any]:
    return read_preset("runs", "quickstart")[0]


def try_run(rng: random.Random, tmp_path: Any) -> None:
    config = check_run(mutated(run_definition(), rng), "mine")
    plain = json.loads(json.dumps(resolved(config)))
    assert finite(plain)
    again = check_run(plain, "again")
    assert plan_trials(again) == plan_trials(config)
    assert all(check_name(trial.key, "key") for trial in plan_trials(config))


def try_space(rng: random.Random, tmp_path: Any) -> None:
    name = rng.choice(("digits", "mbconv-32px"))
    space = load_space(mutated(space_definition(name), rng), "mine")
    assert finite(space.to_dict())
    assert read_space(json.loads(json.dumps(space.to_dict())), "again") == space


def try_target(rng: random.Random, tmp_path: Any) -> None:
    board = {
        "runtime": "command",
        "device": "a board",
        "options": {"command": ["bench", "{model}"], "pattern": "([0-9]+)"},
    }
    target = read_target(mutated(load_target("ort-cpu-1t").to_dict() | rng.choice(({}, board)), rng), "mine")
    assert isinstance(target.settings, target.traits.options)
    assert check_name(target.name, "name")
    assert read_target(target.to_dict(), "again") == target


def try_yaml(rng: random.Random, tmp_path: Any) -> None:
    file = rng.choice(sorted(CONFIGS.rglob("*.yaml")))
    assert finite(parse_yaml(damaged(file.read_bytes(), rng), "mine"))


def try_stored_run(rng: random.Random, tmp_path: Any) -> None:
    job = Job(resolved(check_run({**run_definition(), "storage": str(tmp_path)}, "x")), "")
    text = json.dumps(mutated(job.config, rng) if rng.random() < 0.5 else job.config).encode()
    job.store.write(CONFIG_FILE, text if rng.random() < 0.5 else damaged(text, rng))
    again = Job(stored_config(job.store), "")
    assert finite(again.run.model_dump(mode="json"))


def try_architecture(rng: random.Random, tmp_path: Any) -> None:
    space = load_space("digits")
    path = tuple(rng.randrange(len(position.candidates)) for position in space.positions)
    text = architecture_to_json(space, space.architecture(path))
    if rng.random() < 0.5:
        text = json.dumps(mutated(json.loads(text), rng))
    read, architecture = architecture_from_json(damaged(text.encode(), rng) if rng.random() < 0.5 else text, "mine")
    assert architecture_from_json(architecture_to_json(read, architecture), "again") == (read, architecture)


@pytest.mark.parametrize("attempt", [try_run, try_space, try_target, try_yaml, try_stored_run, try_architecture])
def test_what_is_damaged_ends_in_a_clear_error_or_in_a_checked_meaning(
    attempt: Callable[[random.Random, Any], None], tmp_path: Any
) -> None:
    refused = []
    for index in range(COUNT):
        rng = random.Random(f"{SEED} {attempt.__name__} {index}")
        try:
            attempt(rng, tmp_path)
        except InputError as error:
            refused.append(str(error))
        except Exception as error:
            raise AssertionError(f"{attempt.__name__}, seed {SEED}, mutation {index}") from error
    assert len(refused) > COUNT // 5
    assert [text for text in refused if ":" not in text or len(text) > 20_000] == []
