"""The files of a network: a torch export that is the same each time, texts in an ONNX file, int8 only once."""

import io
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from latency.graphs.archive import load_program
from latency.graphs.export import export_onnx, export_program, with_metadata
from latency.graphs.model import example_input, file_forms
from latency.graphs.quantise import Quantisation, quantise
from supernet.network import build_network
from supernet.presets import load_space

SPACE = load_space("digits")
NETWORK = build_network(SPACE, SPACE.architecture((1, 2, 6, 5, 0, 6)))


def test_a_torch_export_is_the_same_each_time_and_computes_what_the_network_does(tmp_path: Path) -> None:
    content = export_program(NETWORK.train(), SPACE.input_size)
    assert export_program(NETWORK, SPACE.input_size) == content
    (tmp_path / "model.pt2").write_bytes(content)
    module = load_program(tmp_path / "model.pt2").module()
    for batch in (1, 5):
        images = torch.from_numpy(example_input((batch, *SPACE.input_size)))
        with torch.inference_mode():
            assert torch.equal(module(images), NETWORK.eval()(images))


def test_a_torch_export_has_flat_tensors_and_tells_no_folder_of_its_maker() -> None:
    content = export_program(NETWORK, SPACE.input_size)
    names = set(torch.export.load(io.BytesIO(content)).state_dict)
    assert names == {name.replace(".", "_") for name in NETWORK.state_dict()}
    assert str(Path(__file__).parents[4]).encode() not in content


def test_names_that_would_fall_together_stay_as_they_are() -> None:
    network = torch.nn.Sequential()
    network.add_module("a_b", torch.nn.Flatten())
    network.add_module("a", torch.nn.Sequential())
    network.a.add_module("b_c", torch.nn.Linear(4, 4))
    network.add_module("a_b_c", torch.nn.Linear(4, 4))
    content = export_program(network, (1, 2, 2))
    assert set(torch.export.load(io.BytesIO(content)).state_dict) == set(network.state_dict())


def test_texts_travel_in_an_onnx_file(tmp_path: Path) -> None:
    file = export_onnx(NETWORK, SPACE.input_size, tmp_path / "model.onnx")
    file.write_bytes(with_metadata(file.read_bytes(), {"class_names": '["a"]'}))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"class_names": '["a"]'}


def test_an_int8_file_is_not_quantised_again(tmp_path: Path) -> None:
    file = export_onnx(NETWORK, SPACE.input_size, tmp_path / "model.onnx")
    images = example_input((20, *SPACE.input_size))
    contents = {quantise(file.read_bytes(), images, Quantisation(ranges=ranges)) for ranges in ("minmax", "percentile")}
    assert len(contents) == 2
    (tmp_path / "int8.onnx").write_bytes(contents.pop())
    forms = file_forms(tmp_path / "int8.onnx", batch=1)
    assert forms.int8() == forms.onnx()
    assert file_forms(file, batch=1).int8() != file_forms(file, batch=1).onnx()


def test_quantising_is_the_same_each_time(tmp_path: Path) -> None:
    content = export_onnx(NETWORK, SPACE.input_size, tmp_path / "model.onnx").read_bytes()
    images = np.repeat(example_input((1, *SPACE.input_size)), 3, axis=0)
    assert quantise(content, images) == quantise(content, images)
