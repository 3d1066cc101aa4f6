"""Model files as what a runtime takes: what is no whole model is refused with its name."""

import pytest
import torch
from onnx import ModelProto
from torch import nn

from latency.graphs.export import exported
from latency.graphs.model import file_forms, program_forms, require_precision
from latency.graphs.onnx_graph import onnx_bytes
from latency.target import load_target
from supernet.errors import InputError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no input or no output"),
        (ModelProto(ir_version=10).SerializeToString(), "no input or no output"),
        (b"\x00not a model", "not an ONNX model"),
    ],
)
def test_a_file_that_is_no_whole_onnx_model_is_refused(tmp_path, content, message):
    (tmp_path / "cut.onnx").write_bytes(content)
    with pytest.raises(InputError, match=rf"cut\.onnx: .*{message}"):
        file_forms(tmp_path / "cut.onnx", batch=1)


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_a_file_of_another_batch_is_refused(tmp_path, name):
    module, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval(), torch.zeros(4, 1, 2, 2)
    (tmp_path / "model.onnx").write_bytes(onnx_bytes(module, images.shape))
    torch.export.save(torch.export.export(module, (images,)), tmp_path / "model.pt2")
    assert file_forms(tmp_path / name, batch=4).example.shape == (4, 1, 2, 2)
    with pytest.raises(InputError, match=r"takes 4 images at once, and the target has batch 1; export it"):
        file_forms(tmp_path / name, batch=1)


TARGETS = ["torch-cpu-1t", "torch-cpu-bf16-1t", "cuda-fp16-b8", "ort-cpu-1t", "ort-cpu-int8-1t", "openvino-cpu-bf16-1t"]


@pytest.mark.parametrize(
    ("precision", "runs_on"),
    [
        ("fp32", set(TARGETS)),
        ("bf16", {"torch-cpu-bf16-1t"}),  # no runtime of graphs takes a graph in bf16
        ("fp16", {"cuda-fp16-b8"}),
    ],
)
def test_a_program_in_a_low_precision_runs_on_its_own_targets_only(precision, runs_on):
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    forms = program_forms(exported(module, (1, 2, 2), precision), "net.pt2", batch=1)
    assert forms.precision == precision
    for name in TARGETS:
        if name in runs_on:
            require_precision(forms, load_target(name), "net.pt2")
        else:
            with pytest.raises(InputError, match=rf"net\.pt2: in {precision}, and target {name} runs "):
                require_precision(forms, load_target(name), "net.pt2")
