"""Model files as what a runtime takes: what is no whole model is refused with its name."""

import pytest
from onnx import ModelProto

from latency.graphs.model import file_forms
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
