"""The ONNX writer: outputs of the module for every operator, batch norm folded, anything else through torch."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latency.graphs.export import export_onnx, export_parity
from latency.graphs.model import example_input, file_forms
from latency.graphs.onnx_graph import _SIMPLE, onnx_bytes
from supernet.errors import InputError, RunError
from supernet.network import build_network
from supernet.presets import load_network, load_space


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms statistics that matter."""
    generator = torch.Generator().manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.bias):
                tensor.data.copy_(torch.randn(tensor.shape, generator=generator))
            for tensor in (norm.running_var, norm.weight):
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module.eval()


def difference(module: nn.Module, shape: tuple[int, ...], serialised: bytes) -> float:
    session = onnxruntime.InferenceSession(serialised, providers=["CPUExecutionProvider"])
    x = example_input(shape)
    with torch.inference_mode():
        wanted = module(torch.from_numpy(x)).numpy()
    found = session.run(None, {session.get_inputs()[0].name: x})[0]
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def node_types(serialised: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(serialised).graph.node}


class Mixed(nn.Module):
    """Things that users write in operators of their own and the writer knows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)  # not foldable: the convolution's output is used twice
        self.gate = nn.Conv2d(8, 8, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(8, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = F.relu6(self.norm(y)) + y
        z = z * torch.sigmoid(self.gate(self.pool(z)))
        z = F.relu(z + z)
        return self.linear(torch.flatten(self.pool(z), 1))


class Unusual(nn.Module):
    """Something the writer does not know: torch's exporter is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.conv(x).chunk(2, dim=1)
        return torch.cat([left * torch.tanh(right), F.softplus(left)], dim=1).amax((2, 3))


def test_known_parts_are_written_directly() -> None:
    module = randomise(Mixed())
    serialised = onnx_bytes(module, (2, 3, 9, 9))
    onnx.checker.check_model(onnx.load_from_string(serialised), full_check=True)
    assert difference(module, (2, 3, 9, 9), serialised) < 1e-5
    assert "BatchNormalization" in node_types(serialised)


@pytest.mark.parametrize("kind", [*_SIMPLE, nn.Hardsigmoid, nn.ReLU6])
def test_activations_are_written_as_torch_computes_them(kind: type[nn.Module]) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), kind()).eval()
    module[0].weight.data.mul_(8.0)  # far enough for every bend
    serialised = onnx_bytes(module, (2, 3, 9, 9))
    assert difference(module, (2, 3, 9, 9), serialised) < 1e-5
    assert len(node_types(serialised)) == 3, "not through torch's exporter"


@pytest.mark.parametrize(
    ("args", "kwargs", "written"),
    [
        ((1,), {}, True),
        ((1, -1), {}, True),
        ((1,), {"end_dim": -1}, True),
        ((), {"start_dim": 1}, True),
        ((1,), {"end_dim": 2}, False),
        ((1, 2), {}, False),
        ((), {"start_dim": 1, "end_dim": 2}, False),
        ((2,), {}, False),
    ],
)
def test_what_is_flattened_may_be_a_part(args: tuple[int, ...], kwargs: dict[str, int], written: bool) -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.flatten(x, *args, **kwargs)

    module = Flat().eval()
    serialised = onnx_bytes(module, (2, 3, 4, 5))
    assert difference(module, (2, 3, 4, 5), serialised) == 0.0
    assert (node_types(serialised) == {"Flatten", "Identity"}) == written


class Untraceable(nn.Module):
    """Something that symbolic tracing ends at with an error of any kind."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2)) * len(x)


def test_what_cannot_be_traced_goes_through_torchs_exporter() -> None:
    assert difference(Untraceable().eval(), (2, 3, 9, 9), onnx_bytes(Untraceable().eval(), (2, 3, 9, 9))) < 1e-5


@pytest.mark.parametrize("dynamic", [False, True])
def test_unknown_parts_go_through_torchs_exporter(dynamic: bool) -> None:
    module = Unusual().eval()
    serialised = onnx_bytes(module, (1, 3, 9, 9), dynamic_batch=dynamic)
    assert difference(module, (3 if dynamic else 1, 3, 9, 9), serialised) < 1e-5


EXCITED = {
    "base": "digits",
    "rows": [
        {"name": "stem", "op": "conv", "kernel_size": 3, "channels": 16, "activation": "hard_swish"},
        {
            "name": "stage1",
            "op": "mbconv",
            "kernel_size": [3, 5, 7],
            "expand_ratio": [3, 6],
            "se_ratio": 0.25,
            "activation": "relu",
            "channels": 24,
            "blocks": 3,
            "stride": 2,
            "skip": True,
        },
        {"name": "wide", "op": "pooled_linear", "channels": 64},
        {"name": "classifier", "op": "classifier"},
    ],
}
"""A space whose candidates squeeze and excite."""

PLAIN = {"Conv", "Add", "GlobalAveragePool", "Flatten", "Gemm", "Identity"}


@pytest.mark.parametrize(
    ("space", "types"),
    [
        ("digits", {*PLAIN, "Clip"}),
        ("mbconv-32px", {*PLAIN, "Clip"}),
        (EXCITED, {*PLAIN, "Relu", "HardSigmoid", "HardSwish", "Mul"}),
    ],
    ids=["digits", "mbconv-32px", "excited"],
)
@pytest.mark.parametrize("choice", range(7))
def test_networks_of_every_candidate(space: str | dict, types: set[str], choice: int) -> None:
    the_space = load_space(space)
    path = tuple(min(choice, len(position.candidates) - 1) for position in the_space.positions)
    network = randomise(build_network(the_space, the_space.architecture(path)), seed=choice)
    serialised = onnx_bytes(network, (1, *the_space.input_size))
    onnx.checker.check_model(onnx.load_from_string(serialised), full_check=True)
    assert difference(network, (1, *the_space.input_size), serialised) < 1e-5
    assert node_types(serialised) <= types, "not through torch's exporter"


def test_a_published_network_with_an_open_batch(tmp_path) -> None:
    space, architecture = load_network("proxyless-cpu")
    network = randomise(build_network(space, architecture)).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = export_onnx(network, space.input_size, tmp_path / "deep" / "network.onnx")
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert export_parity(network, path, space.input_size) < 1e-4
    dims = onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim
    assert (dims[0].dim_param, [dim.dim_value for dim in dims[1:]]) == ("batch", [3, 224, 224])


def test_parity_sees_other_weights(tmp_path) -> None:
    space = load_space("digits")
    first, second = (build_network(space, space.architecture((0,) * 6), seed=seed) for seed in (0, 1))
    path = export_onnx(first, space.input_size, tmp_path / "network.onnx")
    assert export_parity(first, path, space.input_size) < 1e-5
    assert export_parity(second, path, space.input_size) > 0.1


def test_parity_of_a_broken_file_is_an_error(tmp_path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(b"garbage")
    with pytest.raises(RunError, match="cannot load"):
        export_parity(nn.Identity(), path, (1, 4, 4))


def test_a_file_with_an_open_batch_is_measured_at_the_targets_batch(tmp_path) -> None:
    space = load_space("digits")
    network = build_network(space, space.architecture((0,) * 6))
    forms = file_forms(export_onnx(network, space.input_size, tmp_path / "network.onnx"), batch=4)
    assert forms.example.shape == (4, 1, 16, 16)
    assert difference(network.eval(), (4, 1, 16, 16), forms.onnx()) < 1e-5
    dims = onnx.load_from_string(forms.onnx()).graph.input[0].type.tensor_type.shape.dim
    assert dims[0].dim_value == 4
    with pytest.raises(InputError, match="cannot run on a torch target"):
        forms.module()


def test_an_exported_program_is_read_in_both_forms(tmp_path) -> None:
    network, path = randomise(Mixed()), tmp_path / "network.pt2"
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(network, (torch.zeros(2, 3, 9, 9),), dynamic_shapes=({0: batch},)), path)
    forms = file_forms(path, batch=1)
    x = torch.from_numpy(forms.example)
    with torch.inference_mode():
        torch.testing.assert_close(forms.module()(x), network(x))
    assert difference(network, (1, 3, 9, 9), forms.onnx()) < 1e-5


@pytest.mark.parametrize("name", ["missing.onnx", "there.txt", "broken.onnx"])
def test_other_files_are_refused(tmp_path, name: str) -> None:
    for existing in ("there.txt", "broken.onnx"):
        (tmp_path / existing).write_text("x")
    with pytest.raises(InputError):
        file_forms(tmp_path / name, batch=1)
