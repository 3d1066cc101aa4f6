"""Networks, files and programs of others are measured: outputs and errors, whatever the machine is doing meanwhile."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from latency_command import SMALL, onepath

from latency.graphs.export import export_onnx
from latency.measuring.measure import measure_files, measure_network
from latency.target import load_target, read_target
from supernet.errors import InputError, RunError
from supernet.network import build_network
from supernet.presets import load_space

DIGITS = load_space("digits")


def test_networks_and_files_are_measured_and_their_outputs_checked(tmp_path: Path) -> None:
    found = json.loads(
        onepath("measure", "digits:k3e3~z~z-k3e3~z~z", "--target", "ort-cpu-1t", "--seconds", 1, "--json", status=None)
    )
    assert found["parity"] < 1e-4
    assert 0 < found["latency_ms"] <= found["median_ms"]
    network = build_network(DIGITS, DIGITS.architecture((0,) * 6))
    path = export_onnx(network, DIGITS.input_size, tmp_path / "network.onnx")
    both = measure_files({"one": path, "other": path}, load_target("ort-cpu-1t"), seconds=0.3)
    assert all(both[key].num_samples > 10 for key in ("one", "other"))


@pytest.mark.parametrize("target", ["torch-cpu-1t", "ort-cpu-1t", "ort-cpu-int8-1t"])
def test_a_network_with_its_weights(target: str) -> None:
    """The weights reach the measuring process: its outputs are those of the network that was given."""
    network = build_network(DIGITS, DIGITS.architecture((1, 6, 3, 0, 6, 6)), seed=7)
    with torch.no_grad():
        for _ in range(30):
            network(torch.randn(8, *DIGITS.input_size))
    images = np.random.default_rng(0).standard_normal((8, *DIGITS.input_size)).astype(np.float32)
    found = measure_network(
        DIGITS,
        DIGITS.architecture((1, 6, 3, 0, 6, 6)),
        load_target(target),
        weights=network.state_dict(),
        images=images,
        seconds=0.5,
    )
    assert found.parity is not None
    assert found.parity < (0.1 if "int8" in target else 1e-4)
    assert found.num_samples > 10


def test_more_than_one_thread() -> None:
    found = measure_network(DIGITS, DIGITS.architecture((0,) * 6), load_target("torch-cpu-2t"), seconds=0.5)
    assert found.num_samples > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "--space", "digits", "--target", "ort-cpu-1t"), "onepath latency build --space digits"),
        (("show", "--space", "digits", "--target", "ort-cpu-1"), "did you mean 'ort-cpu-1t'"),
        (("build", "--space", "digits", "--target", "macs"), "nothing to measure"),
        (("build", "--space", "digits", "--target", "cuda-fp32-b8"), "no CUDA device is visible"),
        (("measure", "nothing.onnx", "--target", "ort-cpu-1t"), "nothing.onnx: no such file"),
        (("expected", "--space", "proxyless-imagenet-32", "--target", "pixel1-published"), "no entry for"),
        (("verify", "--space", "digits", "--target", "ort-cpu-1t"), "no latency table of digits on ort-cpu-1t yet"),
    ],
)
def test_wrong_input_is_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    where = () if arguments[0] == "measure" else ("--folder", tmp_path)
    assert message in onepath(*arguments, *where, status=2)


def board(script: Path, runs: int) -> dict:
    """Return a target whose times a script prints."""
    command = [sys.executable, str(script), "{model}", "{runs}"]
    return {"name": "board", "runtime": "command", "device": "a board", "options": {"command": command, "runs": runs}}


def test_an_external_program_is_a_target(tmp_path: Path) -> None:
    """A small script around another runtime, as one would write for a phone or a board."""
    script = tmp_path / "bench.py"
    script.write_text(
        "import sys, time, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "entry = session.get_inputs()[0]\n"
        "x = numpy.zeros(entry.shape, numpy.float32)\n"
        "for i in range(int(sys.argv[2])):\n"
        "    start = time.perf_counter(); session.run(None, {entry.name: x})\n"
        "    print((time.perf_counter() - start) * 1e3)\n"
    )
    definition = board(script, runs=30)
    target = read_target(definition, "board")
    found = measure_network(DIGITS, DIGITS.architecture((0,) * 6), target, seconds=1.0)
    assert found.num_samples >= 3 * 30
    assert found.latency_ms > 0
    assert found.parity is None
    script.write_text("print('cannot reach the board')")
    with pytest.raises(RunError, match="printed 'cannot'; expected positive numbers only"):
        measure_network(DIGITS, DIGITS.architecture((0,) * 6), target, seconds=1.0)
    missing = {**definition, "options": {"command": ["no-such-program-xyz", "{model}"]}}
    with pytest.raises(InputError, match="no-such-program-xyz"):
        measure_network(DIGITS, DIGITS.architecture((0,) * 6), read_target(missing, "board"))


def test_a_table_of_an_external_program(tmp_path: Path) -> None:
    """A program that tells latency from the file alone: the whole way from chains to a calibrated table."""
    (tmp_path / "small.yaml").write_text(SMALL.replace("[3, 7]", "[3]"))  # each visit starts the program
    script = tmp_path / "bench.py"
    script.write_text(
        "import sys, onnx\n"
        "graph = onnx.load(sys.argv[1]).graph\n"
        "size = {w.name: len(w.raw_data) / 4 for w in graph.initializer}\n"
        "ms = sum(size[n] for node in graph.node if node.op_type in ('Conv', 'Gemm') for n in node.input[1:2])\n"
        "print(*[0.5 + ms / 1000] * int(sys.argv[2]))\n"
    )
    definition = board(script, runs=5)
    (tmp_path / "board.yaml").write_text(json.dumps(definition))
    common = ("--space", tmp_path / "small.yaml", "--target", tmp_path / "board.yaml", "--folder", tmp_path)
    built = json.loads(onepath("build", *common, "--seconds", 1, "--json"))
    assert built["calibration"]["scale"] == pytest.approx(1.0, abs=1e-6)
    assert "cpu" not in built["fingerprint"]
    shown = json.loads(onepath("show", *common, "--json"))
    mid = 24 * 3
    weights = 24 * mid + 9 * mid + mid * 24
    assert shown["positions"][1]["costs"]["k3e3"] == pytest.approx(weights / 1000, rel=1e-6)
