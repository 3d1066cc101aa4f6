"""Targets: every preset loads, wrong ones are refused with place and remedy."""

from pathlib import Path

import pytest

from latency.runtimes.base import load_runtime
from latency.runtimes.registry import RUNTIMES
from latency.target import load_target, read_target, target_names
from supernet.errors import InputError


@pytest.mark.parametrize("name", target_names())
def test_presets_load_and_go_there_and_back(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert read_target(target.to_dict(), "again") == target
    assert target.measured == (target.runtime in RUNTIMES)


def test_a_file_is_a_target(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nruntime: onnxruntime\nthreads: 3\nbatch: 4\nprecision: int8\n")
    target = load_target(str(file))
    assert (target.threads, target.batch, target.precision, target.device) == (3, 4, "int8", "cpu")


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"runtime": "torch"}, "place.name: Field required"),
        ({"name": "a b", "runtime": "torch"}, "place.name: 'a b': "),
        ({"name": "..", "runtime": "torch"}, "place.name: '..'"),
        ({"name": "../../evil", "runtime": "torch"}, "place.name: '../../evil'"),
        ({"name": "a", "runtime": "torch", "device": "cuda"}, "place.device: 'cuda'; torch runs on cpu"),
        ({"name": "a", "runtime": "cuda", "device": "cpu"}, "place.device: 'cpu'; cuda runs on cuda"),
        ({"name": "a", "runtime": "command", "device": "a\nb"}, "place.device"),
        ({"name": "a", "runtime": "onxruntime"}, "did you mean 'onnxruntime'"),
        (
            {"name": "a", "runtime": "torch", "threads": 0},
            "place.threads: 0: Input should be greater than or equal to 1",
        ),
        ({"name": "a", "runtime": "torch", "batch": True}, "place.batch"),
        ({"name": "a", "runtime": "torch", "precision": "int8"}, "torch has no 'int8'; it has fp32, bf16"),
        ({"name": "a", "runtime": "torch", "thread": 1}, "did you mean 'threads'"),
        ({"name": "a", "runtime": "torch", "options": [1]}, "place.options"),
        *[({"name": name, "runtime": "torch"}, "place.name: ") for name in ("", "..", "a/b", "a\n", None, ["a"], 3)],
        ({"name": "a", "runtime": "torch", "device": "a\nb"}, "place.device: "),
        ({"name": "a", "runtime": ["torch"]}, "place.runtime: "),
    ],
)
def test_wrong_definitions_are_refused(definition: dict, message: str) -> None:
    with pytest.raises(InputError, match=r"place") as caught:
        read_target(definition, "place")
    assert message in str(caught.value)


def test_unknown_target_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'ort-cpu-1t'"):
        load_target("cpu-ort-1t")


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_has_the_functions_of_the_interface(name: str) -> None:
    runtime = load_runtime(name)
    assert all(callable(getattr(runtime, part)) for part in ("missing", "facts", "environment", "prepare"))
