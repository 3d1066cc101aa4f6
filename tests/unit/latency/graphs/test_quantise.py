"""Quantised graphs: every convolution in int8, batches of any size, made once."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from latency.graphs.model import example_input, module_forms
from latency.graphs.onnx_graph import onnx_bytes
from latency.graphs.quantise import LAYERS, Quantisation, quantise
from supernet.errors import InputError
from supernet.network import build_network
from supernet.plain import read
from supernet.presets import load_space


def test_quantising_makes_every_convolution_int8() -> None:
    import onnx

    space = load_space("digits")
    forms = module_forms(build_network(space, space.architecture((1,) * 6)), (1, *space.input_size))
    graph = onnx.load_from_string(forms.int8()).graph
    made_by = {output: node.op_type for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 20
    assert all(made_by[name] == "DequantizeLinear" for node in convolutions for name in node.input[:2])


def test_quantising_takes_batches_of_the_models_size() -> None:
    space = load_space("digits")
    forms = module_forms(build_network(space, space.architecture((0,) * 6)), (3, *space.input_size))
    assert len(forms.make_images()) == 4  # not a multiple of the batch
    assert forms.int8()


def test_a_quantised_graph_is_made_once(tmp_path: Path) -> None:
    space = load_space("digits")
    forms = module_forms(build_network(space, space.architecture((0,) * 6)), (1, *space.input_size))
    forms = replace(forms, cache=tmp_path / "new")
    first = forms.int8()
    (file,) = (tmp_path / "new").iterdir()
    assert file.read_bytes() == first
    file.write_bytes(b"kept")
    assert forms.int8() == b"kept"
    other = module_forms(build_network(space, space.architecture((1,) * 6)), (1, *space.input_size))
    assert replace(other, cache=tmp_path / "new").int8() != b"kept"


def quantised_layers(content: bytes) -> dict[str, int]:
    """Return the weighted layers of a graph in order, each with how many scales its weights have; 0 in float."""
    import onnx

    graph = onnx.load_from_string(content).graph
    made_by = {output: node for node in graph.node for output in node.output}
    sizes = {tensor.name: onnx.numpy_helper.to_array(tensor).size for tensor in graph.initializer}
    weights = {node.name: made_by.get(node.input[1]) for node in graph.node if node.op_type in LAYERS}
    return {name: sizes[maker.input[1]] if maker else 0 for name, maker in weights.items()}


@pytest.mark.parametrize("open_batch", [False, True])
def test_the_first_and_the_last_layer_may_stay_in_float(open_batch: bool) -> None:
    space = load_space("digits")
    network = build_network(space, space.architecture((1,) * 6)).eval()
    serialised = onnx_bytes(network, (1, *space.input_size), dynamic_batch=open_batch)
    images = example_input((4, *space.input_size))
    first, *inner, last = quantised_layers(quantise(serialised, images, Quantisation(float_ends=True))).values()
    assert (first, last) == (0, 0)
    assert len(inner) == 19
    assert all(inner)


def test_weights_have_a_scale_per_channel_or_one() -> None:
    space = load_space("digits")
    serialised = onnx_bytes(build_network(space, space.architecture((0,) * 6)).eval(), (1, *space.input_size))
    images = example_input((4, *space.input_size))
    each = quantised_layers(quantise(serialised, images, Quantisation(float_ends=False)))
    one = quantised_layers(quantise(serialised, images, Quantisation(per_channel=False, float_ends=False)))
    assert list(each) == list(one)
    assert set(one.values()) == {1}
    assert min(each.values()) > 1


@pytest.mark.parametrize("given", [{"per_channel": 1}, {"ranges": "best"}, {"float_ends": "yes"}, {"num_images": 0}])
def test_what_is_no_setting_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"here.{next(iter(given))}"):
        read(Quantisation, given, "here")


@pytest.mark.parametrize("ranges", ["percentile", "entropy"])
def test_quantising_says_nothing(ranges: str, capfd: pytest.CaptureFixture[str]) -> None:
    space = load_space("digits")
    serialised = onnx_bytes(build_network(space, space.architecture((0,) * 6)).eval(), (1, *space.input_size))
    level = logging.getLogger().level
    assert quantise(serialised, example_input((4, *space.input_size)), Quantisation(ranges=ranges))
    assert capfd.readouterr().out == ""
    assert logging.getLogger().level == level != logging.ERROR, "others still say what they have to"
