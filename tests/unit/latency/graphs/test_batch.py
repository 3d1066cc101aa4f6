"""A graph's batch: fixed where it is open, kept where it fits, refused where it is another; old files among them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from latency.graphs.batch import fixed_batch, full_batches, inputs_of
from supernet.errors import InputError


def graph(batch: object, *, weights_are_inputs: bool = False) -> bytes:
    """Return images of (batch, 1, 2, 2), flattened, times weights that come first among the inputs if any do."""
    images = helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 1, 2, 2])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])
    weights = onnx.numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "weights")
    also = [helper.make_tensor_value_info("weights", TensorProto.FLOAT, [4, 3])] if weights_are_inputs else []
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    inside = [helper.make_tensor_value_info("flat", TensorProto.FLOAT, [batch, 4])]
    made = helper.make_graph(nodes, "network", [*also, images], [output], [weights], value_info=inside)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 11)], ir_version=3 if also else 10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def shapes(serialised: bytes) -> dict[str, list[int]]:
    model = onnx.load_from_string(serialised).graph
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*model.input, *model.output)}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("open_batch", ["batch", None])
def test_an_open_batch_is_fixed_and_nothing_else_is_touched(old: bool, open_batch: str | None) -> None:
    fixed = fixed_batch(graph(open_batch, weights_are_inputs=old), 5, "m.onnx")
    found = shapes(fixed)
    assert found["input"] == [5, 1, 2, 2]
    assert found["logits"] == [5 if open_batch else 0, 3]
    assert found.get("weights", [4, 3]) == [4, 3]
    assert [value.name for value in inputs_of(onnx.load_from_string(fixed).graph)] == ["input"]
    session = onnxruntime.InferenceSession(fixed, providers=["CPUExecutionProvider"])
    assert session.run(None, {"input": np.ones((5, 1, 2, 2), np.float32)})[0].tolist() == [[18, 22, 26]] * 5


def test_a_model_of_the_batch_is_left_to_the_byte_and_one_of_another_is_refused() -> None:
    assert fixed_batch(graph(4), 4, "m.onnx") == graph(4)
    message = r"m\.onnx: takes 4 images at once, and the target has batch 1; export it with an open batch or with 1"
    with pytest.raises(InputError, match=message):
        fixed_batch(graph(4), 1, "m.onnx")


def test_the_last_batch_is_filled_up_from_the_front() -> None:
    parts = [part.tolist() for part in full_batches(np.arange(5, dtype=np.float32), 3)]
    assert parts == [[0, 1, 2], [3, 4, 0]]
    assert [len(part) for part in full_batches(np.zeros((2, 1), np.float32), 16)] == [16]
