"""Quantised graphs: every convolution in int8, batches of any size, made once."""

from dataclasses import replace
from pathlib import Path

from latency.graphs.model import module_forms
from supernet.network import build_network
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
