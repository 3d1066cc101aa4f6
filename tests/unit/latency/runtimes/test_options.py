"""Options of targets: wrong ones are refused when a target is read, before anything is measured."""

import math
from typing import Any

import pytest

from latency.measuring.job import why_not
from latency.measuring.machine import allowed_cores
from latency.runtimes.options import CommandOptions, CudaOptions
from latency.target import load_target, read_target, target_names
from supernet.errors import InputError

COMMAND = {"command": ["bench", "{model}"]}


@pytest.mark.parametrize(
    ("runtime", "options", "message"),
    [
        ("command", {}, "t.options.command: Field required"),
        ("command", {"command": "adb shell x"}, "t.options.command: 'adb shell x': a list is wanted, as in [a, b]"),
        ("command", {"command": []}, "t.options.command: []: the first of them is the program"),
        ("command", {"command": [""]}, "the first of them is the program"),
        ("command", {"command": ["x", None]}, "t.options.command[1]"),
        ("command", {"command": ["a\x00b"]}, "t.options.command[0]"),
        ("command", {**COMMAND, "pattern": "avg=([0-9"}, "t.options.pattern: 'avg=([0-9': not a regular expression"),
        ("command", {**COMMAND, "pattern": "avg=[0-9]+"}, "0 groups; put the number in one"),
        ("command", {**COMMAND, "pattern": "(a)=([0-9]+)"}, "2 groups; put the number in one"),
        ("command", {**COMMAND, "pattern": ""}, "t.options.pattern"),
        ("command", {**COMMAND, "unit": "min"}, "t.options.unit: 'min': Input should be 'ms', 'us' or 's'"),
        ("command", {**COMMAND, "timeout": 3}, "t.options: unknown key 'timeout'"),
        *[("command", {**COMMAND, "runs": value}, "t.options.runs") for value in (0, -1, 2.5, True, 10**9)],
        *[
            ("command", {**COMMAND, "timeout_seconds": value}, "t.options.timeout_seconds")
            for value in (0, -1, math.nan, math.inf, "120", 10**6)
        ],
        ("torch", {"channel_last": True}, "did you mean 'channels_last'"),
        ("torch", {"channels_last": "yes"}, "t.options.channels_last"),
        ("onnxruntime", {"channels_last": True}, "t.options: unknown key 'channels_last'"),
        *[("onnxruntime", {"cores": value}, "t.options.cores") for value in ([], [-1], "2,3", [0.5], [10**6])],
        ("cuda", {"cores": [1]}, "t.options: unknown key 'cores'"),
        ("macs", {"a": 1}, "t.options: unknown key 'a'"),
        ("published", {}, "t.options.table: Field required"),
        ("published", {"table": "pixl1"}, "no published table; did you mean 'pixel1'"),
        ("published", {"table": "../../../etc/passwd"}, "no published table"),
    ],
)
def test_wrong_options_are_refused(runtime: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_target({"name": "mine", "runtime": runtime, "options": options}, "t")
    assert message in str(caught.value)


def test_what_is_not_given_has_its_default() -> None:
    command = read_target({"name": "a", "runtime": "command", "options": COMMAND}, "t").settings
    assert command == CommandOptions(command=["bench", "{model}"])
    assert (command.unit, command.runs, command.timeout_seconds, command.pattern) == ("ms", 10, 120.0, None)
    assert read_target({"name": "a", "runtime": "cuda"}, "t").settings == CudaOptions()


def test_options_stay_as_they_were_written() -> None:
    """They are part of a table's fingerprint: a new default must not make old tables foreign."""
    target = read_target({"name": "a", "runtime": "torch", "options": {"channels_last": True}}, "t")
    assert target.to_dict()["options"] == {"channels_last": True}
    assert target.settings.cores is None


def test_cores_that_are_not_there_are_said_before_measuring() -> None:
    target = read_target({"name": "a", "runtime": "torch", "options": {"cores": [0, 4000]}}, "t")
    assert "options.cores: core 4000 may not be used here; those that may: " in why_not(target)
    there = {"cores": allowed_cores()[:1]}
    assert not why_not(read_target({"name": "a", "runtime": "torch", "options": there}, "t"))


@pytest.mark.parametrize("name", target_names())
def test_options_of_presets_read(name: str) -> None:
    target = load_target(name)
    assert isinstance(target.settings, target.traits.options)
