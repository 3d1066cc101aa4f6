"""From a module in eval mode to an ONNX graph, in milliseconds and with batch norm folded.

Why here: a table needs hundreds of small graphs, and torch's exporter takes a second for each. This writer knows
the layers that mobile networks are made of; whatever else a user's operator holds goes through torch's exporter.
Both give the same outputs as the module (`export.export_parity` checks it). `onnx` is imported when first needed.
"""

import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

OPSET = 18


class _Unknown(Exception):
    """The writer does not know this node."""


def onnx_bytes(module: nn.Module, input_shape: tuple[int, ...], *, dynamic_batch: bool = False) -> bytes:
    """Return a module as a serialised ONNX model with input `input` and output `logits`.

    Args:
        module: In eval mode, one tensor in, one tensor out.
        input_shape: (N, C, H, W).
        dynamic_batch: Leave N open.
    """
    assert not module.training
    try:
        return _Writer(_traced(module), input_shape, dynamic_batch).model()
    except _Unknown:
        return _exported(module, input_shape, dynamic_batch)


def _traced(module: nn.Module) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(module)
    except Exception as error:  # what a forward asks of a proxy is anybody's code, and raises anything
        raise _Unknown(str(error)) from error


def _exported(module: nn.Module, input_shape: tuple[int, ...], dynamic_batch: bool) -> bytes:
    """Export by torch's own exporter."""
    example = torch.zeros(max(input_shape[0], 2) if dynamic_batch else input_shape[0], *input_shape[1:])
    shapes = ({0: torch.export.Dim("batch")},) if dynamic_batch else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["input"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    serialised: bytes = program.model_proto.SerializeToString()
    return serialised


class _Writer:
    """Walks a traced module and collects ONNX nodes and weights."""

    def __init__(self, traced: fx.GraphModule, input_shape: tuple[int, ...], dynamic_batch: bool) -> None:
        self.traced = traced
        self.input_shape = ("batch" if dynamic_batch else input_shape[0], *input_shape[1:])
        self.modules = dict(traced.named_modules())
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.rank: dict[str, int] = {}

    def model(self) -> bytes:
        """Return the serialised model."""
        import onnx
        from onnx import TensorProto, helper

        folded: set[fx.Node] = set()
        name: dict[fx.Node, str] = {}
        for node in self.traced.graph.nodes:
            if node in folded:
                continue
            inputs = [name[arg] for arg in node.all_input_nodes]
            if node.op == "placeholder":
                name[node], self.rank["input"] = "input", len(self.input_shape)
            elif node.op == "output":
                self.nodes.append(helper.make_node("Identity", inputs, ["logits"]))
            else:
                norm = self._folded_norm(node)
                name[node] = self._write(node, inputs, norm)
                if norm is not None:
                    folded.add(norm)
                    name[norm] = name[node]
        rank = self.rank[self.nodes[-1].input[0]]
        shape = [self.input_shape[0], *(None,) * (rank - 1)]
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, self.input_shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        serialised: bytes = onnx.shape_inference.infer_shapes(model).SerializeToString()
        return serialised

    def _folded_norm(self, node: fx.Node) -> fx.Node | None:
        """Return the batch norm that can be folded into this convolution."""
        if node.op != "call_module" or type(self.modules[str(node.target)]) is not nn.Conv2d or len(node.users) != 1:
            return None
        user = next(iter(node.users))
        fits = user.op == "call_module" and type(self.modules[str(user.target)]) is nn.BatchNorm2d
        return user if fits else None

    def _write(self, node: fx.Node, inputs: list[str], norm: fx.Node | None) -> str:
        if node.kwargs and node.op != "call_module":
            known = {"inplace", "keepdim", "start_dim", "end_dim", "dim"}
            if not set(node.kwargs) <= known:
                raise _Unknown(str(node.kwargs))
        if node.op == "call_module":
            module = self.modules[str(node.target)]
            if isinstance(module, nn.Conv2d) and type(module) is nn.Conv2d:
                return self._conv(node.name, inputs, module, self.modules[str(norm.target)] if norm else None)
            return self._module(node.name, inputs, module)
        if node.op not in ("call_function", "call_method"):
            raise _Unknown(node.op)
        return self._function(node, inputs)

    def _module(self, name: str, inputs: list[str], module: nn.Module) -> str:
        kind = type(module)
        if kind in (nn.Dropout, nn.Identity):
            return inputs[0]
        if kind in _SIMPLE:
            return self._add(_SIMPLE[kind], inputs, name)
        if kind is nn.Hardsigmoid:
            return self._hard_sigmoid(name, inputs)
        if isinstance(module, nn.ReLU6):
            return self._clip(name, inputs, 0.0, 6.0)
        if isinstance(module, nn.Linear) and self.rank[inputs[0]] == 2:
            bias = [] if module.bias is None else [self._weight(f"{name}.bias", module.bias)]
            return self._add("Gemm", [*inputs, self._weight(f"{name}.weight", module.weight), *bias], name, transB=1)
        if kind is nn.BatchNorm2d:
            return self._norm(name, inputs, module)
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
            return self._add("GlobalAveragePool", inputs, name)
        if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
            return self._add("Flatten", inputs, name, rank=2, axis=1)
        raise _Unknown(kind.__name__)

    def _function(self, node: fx.Node, inputs: list[str]) -> str:
        target, name, rest = node.target, node.name, node.args[1:]
        tensors = [arg for arg in node.args if isinstance(arg, fx.Node)]
        pair = len(tensors) == 2 and len(node.args) == 2 and len(inputs) in (1, 2)
        if target in _ADD and pair:
            return self._add("Add", inputs * (2 // len(inputs)), name)
        if target in _MUL and pair:
            return self._add("Mul", inputs * (2 // len(inputs)), name)
        if target in (F.relu, torch.relu, "relu"):
            return self._add("Relu", inputs, name)
        if target is F.relu6:
            return self._clip(name, inputs, 0.0, 6.0)
        if target in (torch.sigmoid, F.sigmoid, "sigmoid"):
            return self._add("Sigmoid", inputs, name)
        if target is F.hardsigmoid:
            return self._hard_sigmoid(name, inputs)
        if target in ("mean", torch.mean):
            return self._mean(node, inputs)
        if target in (torch.flatten, "flatten"):
            dims = {**dict(zip(("start_dim", "end_dim"), rest, strict=False)), **node.kwargs}
            if dims in ({"start_dim": 1}, {"start_dim": 1, "end_dim": -1}):
                return self._add("Flatten", inputs, name, rank=2, axis=1)
        raise _Unknown(f"{target} {rest}")

    def _mean(self, node: fx.Node, inputs: list[str]) -> str:
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        keepdim = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
        if self.rank[inputs[0]] != 4 or not isinstance(dims, list | tuple) or set(dims) not in ({2, 3}, {-1, -2}):
            raise _Unknown(f"mean over {dims}")
        pooled = self._add("GlobalAveragePool", inputs, f"{node.name}.pool" if not keepdim else node.name)
        return pooled if keepdim else self._add("Flatten", [pooled], node.name, rank=2, axis=1)

    def _conv(self, name: str, inputs: list[str], conv: nn.Conv2d, norm: nn.Module | None) -> str:
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise _Unknown(f"padding {conv.padding_mode} {conv.padding}")
        weight, bias = conv.weight, conv.bias
        if norm is not None:
            assert isinstance(norm, nn.BatchNorm2d)
            mean, var = norm.running_mean, norm.running_var
            if mean is None or var is None:
                raise _Unknown("batch norm without running statistics")
            weight, bias = fuse_conv_bn_weights(weight, bias, mean, var, norm.eps, norm.weight, norm.bias)
        parts = [self._weight(f"{name}.weight", weight)]
        if bias is not None:
            parts.append(self._weight(f"{name}.bias", bias))
        return self._add(
            "Conv",
            [*inputs, *parts],
            name,
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[*conv.padding, *conv.padding],
            dilations=list(conv.dilation),
            group=conv.groups,
        )

    def _norm(self, name: str, inputs: list[str], norm: nn.Module) -> str:
        assert isinstance(norm, nn.BatchNorm2d)
        if norm.running_mean is None or norm.running_var is None or not norm.affine:
            raise _Unknown("batch norm without affine weights or running statistics")
        tensors = {"scale": norm.weight, "bias": norm.bias, "mean": norm.running_mean, "var": norm.running_var}
        parts = [self._weight(f"{name}.{key}", value) for key, value in tensors.items()]
        return self._add("BatchNormalization", [*inputs, *parts], name, epsilon=norm.eps)

    def _hard_sigmoid(self, name: str, inputs: list[str]) -> str:
        return self._add("HardSigmoid", inputs, name, alpha=1 / 6)  # 0.2 by default

    def _clip(self, name: str, inputs: list[str], low: float, high: float) -> str:
        bounds = [self._weight(f"clip_{bound:g}", torch.tensor(bound)) for bound in (low, high)]
        return self._add("Clip", [*inputs, *bounds], name)

    def _weight(self, name: str, value: Tensor) -> str:
        from onnx import numpy_helper

        if all(known.name != name for known in self.weights):
            array: NDArray[np.float32] = value.detach().float().cpu().numpy()
            self.weights.append(numpy_helper.from_array(array, name))
        return name

    def _add(self, op: str, inputs: list[str], name: str, rank: int | None = None, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.rank[name] = self.rank[inputs[0]] if rank is None else rank
        return name


_SIMPLE: dict[type[nn.Module], str] = {
    nn.ReLU: "Relu",
    nn.Sigmoid: "Sigmoid",
    nn.Hardswish: "HardSwish",
    nn.Tanh: "Tanh",
}
_ADD: tuple[Callable[..., Any] | str, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")
_MUL: tuple[Callable[..., Any] | str, ...] = (operator.mul, operator.imul, torch.mul, "mul", "mul_")
