"""The bound on a file's size against files that are written."""

import json

import numpy as np
import pytest

from latency.graphs.export import export_onnx, export_program, with_metadata
from latency.graphs.model import example_input
from latency.graphs.quantise import Quantisation, quantise
from latency.graphs.size import file_table
from supernet.network import build_network
from supernet.presets import load_space


@pytest.mark.parametrize(("name", "choice"), [("scattered-digits", -1), ("scattered-digits", 1)])
def test_no_file_is_larger_than_its_bound_nor_much_smaller(tmp_path, name, choice):
    space = load_space(name)
    path = tuple(choice % len(position.candidates) for position in space.positions)
    network = build_network(space, space.architecture(path)).eval()
    about = json.dumps({"class_names": [f"a class {number}" for number in range(space.num_classes)]})
    onnx = with_metadata(export_onnx(network, space.input_size, tmp_path / "m.onnx").read_bytes(), {"onepath": about})
    images = np.concatenate([example_input((4, *space.input_size), seed=seed) for seed in range(4)])
    files = {
        (True, "fp32"): onnx,
        (True, "int8"): quantise(onnx, images, Quantisation(num_images=16)),
        (True, "int8", True): quantise(onnx, images, Quantisation(num_images=16, float_ends=True)),
        (False, "fp32"): export_program(network, space.input_size),
        (False, "bf16"): export_program(network, space.input_size, "bf16"),
    }
    for (is_onnx, precision, *ends), content in files.items():
        bound = file_table(space, onnx=is_onnx, precision=precision, float_ends=bool(ends)).total(path)
        assert len(content) <= bound <= 1.7 * len(content), (is_onnx, precision, ends)


def test_ends_that_stay_in_fp32_take_four_bytes_a_weight():
    space = load_space("proxyless-imagenet")
    without, with_ends = (file_table(space, onnx=True, precision="int8", float_ends=ends) for ends in (False, True))
    assert with_ends.fixed - without.fixed == 3 * (3 * 3 * 3 * 32 + 1280 * 1000)
    assert with_ends.candidates == without.candidates


def test_a_large_file_is_its_weights():
    space = load_space("proxyless-imagenet")
    largest = tuple(row.index(max(row)) for row in file_table(space, onnx=True, precision="fp32").candidates)
    network = build_network(space, space.architecture(largest))
    weights = 4 * sum(p.numel() for p in network.parameters())
    assert weights < file_table(space, onnx=True, precision="fp32").total(largest) < 1.01 * weights
