"""What a file answers on each target that this machine has: what torch says of the same images, in any number."""

from pathlib import Path

import numpy as np
import pytest
import torch

from latency.graphs.export import export_onnx, export_program
from latency.graphs.model import example_input
from latency.graphs.quantise import quantise
from latency.measuring.answers import answers
from latency.measuring.job import why_not
from latency.measuring.machine import allowed_cores
from latency.target import Target, load_target, read_target, target_names
from supernet.errors import RunError
from supernet.network import build_network
from supernet.presets import load_space

SPACE = load_space("digits")
SLOW = ("torch-compile",)
TOLERANCES = {"fp32": 1e-5, "bf16": 0.03, "int8": 0.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a network as fp32 files and as an int8 file."""
    folder = tmp_path_factory.mktemp("answers")
    network = build_network(SPACE, SPACE.architecture((1, 2, 6, 5, 0, 6)))
    with torch.no_grad():  # statistics of its own data, so that signals keep their size through the layers
        for _ in range(30):
            network(torch.randn(8, *SPACE.input_size, generator=torch.Generator().manual_seed(0)))
    content = export_onnx(network, SPACE.input_size, folder / "fp32.onnx").read_bytes()
    (folder / "int8.onnx").write_bytes(quantise(content, example_input((32, *SPACE.input_size))))
    (folder / "fp32.pt2").write_bytes(export_program(network, SPACE.input_size))
    torch.save(network.eval()(torch.from_numpy(example_input((7, *SPACE.input_size)))), folder / "wanted.pt")
    return folder


def local_targets() -> list[Target]:
    packaged = [load_target(name) for name in target_names()]
    packaged.append(read_target({"name": "b5", "runtime": "onnxruntime", "batch": 5}, "target"))
    command = {"name": "phone", "runtime": "command", "options": {"command": ["echo", "1"]}}
    packaged.append(read_target(command, "target"))
    return [t for t in packaged if t.measured and t.device != "cuda" and t.runtime not in SLOW and not why_not(t)]


@pytest.mark.parametrize("target", local_targets(), ids=lambda target: target.name)
def test_a_file_answers_as_the_network_does(folder: Path, target: Target) -> None:
    file = "fp32.pt2" if not target.traits.takes_onnx else "int8.onnx" if target.precision == "int8" else "fp32.onnx"
    wanted = torch.load(folder / "wanted.pt").detach().numpy()
    found = answers(folder / file, target, example_input((7, *SPACE.input_size)))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() / np.abs(wanted).max() < TOLERANCES[target.precision]


def test_a_file_of_a_board_answers_here_whatever_its_threads(folder: Path) -> None:
    """Nothing is timed: more threads than this machine has cores give the same answers."""
    board = {"name": "phone", "runtime": "command", "threads": len(allowed_cores()) + 1}
    target = read_target({**board, "options": {"command": ["no-such-program-xyz"]}}, "target")
    assert answers(folder / "fp32.onnx", target, example_input((1, *SPACE.input_size))).shape == (1, 10)


def test_images_of_another_size_are_refused(folder: Path) -> None:
    with pytest.raises(RunError, match=r"takes images of \(1, 16, 16\), got \(1, 8, 8\)"):
        answers(folder / "fp32.onnx", load_target("ort-cpu-1t"), example_input((1, 1, 8, 8)))
