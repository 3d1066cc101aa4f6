"""What whoever loads a registered model is told to install, whatever the driver has itself."""

from importlib.metadata import version

from orchestrator.registry.model import requirements


def test_the_runtime_is_of_the_version_that_was_measured_and_need_not_be_here() -> None:
    """Said before: a driver without the device's runtime trained everything, and ended in a traceback."""
    of_all = [f"numpy=={version('numpy')}", f"pillow=={version('pillow')}"]
    assert requirements("no-runtime-of-this-machine", {}) == [*of_all, "no-runtime-of-this-machine"]
    assert requirements("openvino", {"onnx": "1.0", "openvino": "1.2.3"}) == [*of_all, "openvino==1.2.3"]
    assert requirements("torch", {"torch": "0.1.2+cu130"}) == [*of_all, "torch==0.1.2"]
