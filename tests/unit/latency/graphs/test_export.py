"""The files of a network: a torch export that is the same each time, texts in an ONNX file, int8 only once."""

import io
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from latency.graphs.archive import load_program
from latency.graphs.export import export_onnx, export_parity, export_program, with_metadata, with_pixels
from latency.graphs.model import example_input, file_forms
from latency.graphs.quantise import Quantisation, quantise
from orchestrator.data.augment import normalise
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


def test_outputs_that_are_no_numbers_are_no_agreement(tmp_path: Path) -> None:
    file = export_onnx(NETWORK, SPACE.input_size, tmp_path / "model.onnx")
    assert export_parity(NETWORK, file, SPACE.input_size) < 1e-5
    model = onnx.load(file)
    for weights in model.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(weights)
            weights.CopyFrom(onnx.numpy_helper.from_array(np.full_like(values, np.nan), weights.name))
    onnx.save(model, file)
    assert np.isnan(export_parity(NETWORK, file, SPACE.input_size))


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


@pytest.mark.parametrize(("channels", "int8"), [(1, False), (1, True), (3, False)])
def test_an_onnx_file_with_its_preprocessing_inside_gives_the_same_answers(
    tmp_path: Path, channels: int, int8: bool
) -> None:
    space = load_space({"base": "digits", "input_size": [channels, 8, 10]})
    network = build_network(space, space.architecture((0,) * 6))
    content = export_onnx(network, space.input_size, tmp_path / "network.onnx").read_bytes()
    if int8:
        content = quantise(content, example_input((4, *space.input_size)), Quantisation())
    mean, std = (0.2, 0.5, 0.7)[:channels], (0.3, 0.25, 0.2)[:channels]
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 10, channels), dtype=np.uint8)
    sessions = [
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        for model in (content, with_pixels(with_metadata(content, {"a": "b"}), mean, std))
    ]
    (given,) = sessions[1].get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("pixels", "tensor(uint8)", [8, 10, channels])
    assert sessions[1].get_modelmeta().custom_metadata_map == {"a": "b"}
    images = normalise(pixels.transpose(0, 3, 1, 2), mean, std).numpy()
    wanted = sessions[0].run(None, {"input": images})[0]
    np.testing.assert_allclose(sessions[1].run(None, {"pixels": pixels})[0], wanted, rtol=1e-5, atol=1e-6)
