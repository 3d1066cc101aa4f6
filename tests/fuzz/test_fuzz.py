"""Mutated configurations, spaces and targets: each ends in a clear error or in a checked meaning.

`FUZZ_SEED` and `FUZZ_COUNT` choose other mutations and more of them (`make fuzz`).
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from mutations import Attempt, damaged, finite, mutated, survive

from latency.target import load_target, read_target
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.continued import stored_config
from orchestrator.plan.trials import CONFIG_FILE, Job, plan_trials
from supernet.plain import check_name
from supernet.presets import CONFIGS, load_space, read_preset, space_definition
from supernet.space import architecture_from_json, architecture_to_json, read_space
from supernet.yaml_text import parse_yaml


def run_definition() -> dict[str, Any]:
    return read_preset("runs", "quickstart")[0]


def try_run(rng: random.Random, tmp_path: Path) -> None:
    config = check_run(mutated(run_definition(), rng), "mine")
    plain = json.loads(json.dumps(resolved(config)))
    assert finite(plain)
    again = check_run(plain, "again")
    assert plan_trials(again) == plan_trials(config)
    assert all(check_name(trial.key, "key") for trial in plan_trials(config))


def try_space(rng: random.Random, tmp_path: Path) -> None:
    name = rng.choice(("digits", "mbconv-32px"))
    space = load_space(mutated(space_definition(name), rng), "mine")
    assert finite(space.to_dict())
    assert read_space(json.loads(json.dumps(space.to_dict())), "again") == space


def try_target(rng: random.Random, tmp_path: Path) -> None:
    board = {
        "runtime": "command",
        "device": "a board",
        "options": {"command": ["bench", "{model}"], "pattern": "([0-9]+)"},
    }
    target = read_target(mutated(load_target("ort-cpu-1t").to_dict() | rng.choice(({}, board)), rng), "mine")
    assert isinstance(target.settings, target.traits.options)
    assert check_name(target.name, "name")
    assert read_target(target.to_dict(), "again") == target


def try_yaml(rng: random.Random, tmp_path: Path) -> None:
    file = rng.choice(sorted(CONFIGS.rglob("*.yaml")))
    assert finite(parse_yaml(damaged(file.read_bytes(), rng), "mine"))


def try_stored_run(rng: random.Random, tmp_path: Path) -> None:
    job = Job(resolved(check_run({**run_definition(), "storage": str(tmp_path)}, "x")), "")
    text = json.dumps(mutated(job.config, rng) if rng.random() < 0.5 else job.config).encode()
    job.store.write(CONFIG_FILE, text if rng.random() < 0.5 else damaged(text, rng))
    again = Job(stored_config(job.store), "")
    assert finite(again.run.model_dump(mode="json"))


def try_architecture(rng: random.Random, tmp_path: Path) -> None:
    space = load_space("digits")
    path = tuple(rng.randrange(len(position.candidates)) for position in space.positions)
    text = architecture_to_json(space, space.architecture(path))
    if rng.random() < 0.5:
        text = json.dumps(mutated(json.loads(text), rng))
    read, architecture = architecture_from_json(damaged(text.encode(), rng) if rng.random() < 0.5 else text, "mine")
    assert architecture_from_json(architecture_to_json(read, architecture), "again") == (read, architecture)


@pytest.mark.parametrize("attempt", [try_run, try_space, try_target, try_yaml, try_stored_run, try_architecture])
def test_what_is_damaged_ends_in_a_clear_error_or_in_a_checked_meaning(attempt: Attempt, tmp_path: Path) -> None:
    survive(attempt, tmp_path)
