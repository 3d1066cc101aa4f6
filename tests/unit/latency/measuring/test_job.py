"""Jobs as plain data, plans of targets, and when a run is believed."""

import random
import time
from contextlib import nullcontext
from dataclasses import replace

import pytest
from latency_cases import made_up_result, stats

from latency.errors import NotRunnable
from latency.measuring.job import Item, Job, noise_reason, plan_for, require_runnable, why_not
from latency.measuring.machine import fast_cores
from latency.measuring.timing import HostClock, sample
from latency.runtimes.base import Call
from latency.target import load_target, read_target
from supernet.errors import InputError
from supernet.plain import read_json, to_json
from supernet.presets import load_space

QUIET = made_up_result({"a": 1.0, "b": 2.0})


def test_a_job_goes_there_and_back() -> None:
    items = (Item("a", choices=((0, 0), (1, 3)), input_shape=(1, 16, 16), check=True), Item("b", file="b.onnx"))
    job = Job(load_target("ort-cpu-int8-1t"), items, load_space("digits"), seed=3)
    assert read_json(Job, to_json(job), "job") == job


def test_time_is_a_number_of_seconds_up_to_a_day() -> None:
    target = load_target("ort-cpu-1t")
    assert (plan_for(target, 2.0).seconds, plan_for(target, 2.0).max_seconds) == (2.0, 6.0)
    for seconds in (0.0, -1.0, float("nan"), float("inf"), 1e6):
        with pytest.raises(InputError, match="seconds"):
            plan_for(target, seconds)


def test_an_external_program_is_started_as_rarely_as_possible() -> None:
    options = {"command": ["bench"], "runs": 7}
    plan = plan_for(read_target({"name": "b", "runtime": "command", "options": options}, "t"), 0.001)
    asked: list[int] = []

    def start(num_calls: int) -> list[Call]:
        asked.append(num_calls)
        time.sleep(0.001)
        return [Call(1.0, True)]

    phases = nullcontext({"model": start})
    sample(lambda: phases, plan, HostClock(), random.Random(0), settled=lambda samples: True)
    assert asked == [7] * plan.phases


def test_what_cannot_run_here_names_the_target() -> None:
    target = read_target({"name": "b", "runtime": "command", "options": {"command": ["no-such-program-xyz"]}}, "t")
    with pytest.raises(NotRunnable, match="target b: program 'no-such-program-xyz' not found"):
        require_runnable(target)


def test_more_threads_than_cores_are_refused_with_both_numbers() -> None:
    """They would share cores, so that nearly every call had a thread that waits: not the doing of any neighbour."""
    cores = fast_cores()
    many = {"name": "a", "runtime": "onnxruntime", "threads": len(cores) + 1}
    found = why_not(read_target(many, "t"))
    assert found.startswith(f"{len(cores) + 1} threads would wait for one another on {len(cores)} core")
    assert found.endswith(f"; set threads to {len(cores)} at most")
    narrow = {"name": "a", "runtime": "torch", "threads": 2, "options": {"cores": [cores[0], cores[0]]}}
    assert f"on 1 core ({cores[0]}); set threads to 1 at most, or name more in options" in why_not(
        read_target(narrow, "t")
    )
    board = {"name": "b", "runtime": "command", "threads": 4096, "options": {"command": ["echo"]}}
    assert why_not(read_target(board, "t")) == "", "it has its own cores"
    assert why_not(read_target({**many, "threads": len(cores)}, "t")) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"clean_share": 0.2}, "only 20% of the calls ran undisturbed"),
        ({"num_phases": 1}, "1 phases in which every item had an undisturbed call"),
        ({"num_unlike": 10}, ""),
        ({"num_unlike": 11}, "in 11 of 16 phases a reference kernel, or all items together, were slower or faster by"),
        ({"stats": {"a": stats(1.0, error=0.04), "b": stats(2.0)}}, "1 of 2 items are known worse than to 3.0%"),
    ],
)
def test_a_disturbed_run_says_why(changes: dict, reason: str) -> None:
    found = noise_reason(replace(QUIET, **changes), ["a", "b"], 0.03)
    assert (reason in found) if reason else found == ""


def test_only_the_items_that_matter_count() -> None:
    uncertain = replace(QUIET, stats={"a": stats(1.0, error=0.5), "b": stats(2.0)})
    assert noise_reason(uncertain, ["b"], 0.03) == ""
