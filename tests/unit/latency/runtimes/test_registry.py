"""Every runtime that this machine can run gives the outputs of torch and times itself; the GPU's on a fake device."""

import importlib.util
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from latency.graphs.model import module_forms
from latency.measuring.job import why_not
from latency.measuring.timing import HostClock
from latency.runtimes.base import Host, load_runtime
from latency.runtimes.cuda import device_program, missing
from latency.target import Target, load_target, read_target, target_names
from supernet.network import build_network
from supernet.presets import load_space

SLOW = ("torch-compile",)
"""Half a minute per model: tested in `tests/integration`."""
TOLERANCES = {"fp32": 1e-4, "bf16": 0.03, "int8": 0.1}


def local_targets() -> list[Target]:
    """Return the packaged targets that run in this process on any machine with the extras installed."""
    targets = [load_target(name) for name in target_names()]
    return [t for t in targets if t.measured and t.traits.own_process and t.runtime not in SLOW and not why_not(t)]


@pytest.mark.parametrize("target", local_targets(), ids=lambda target: target.name)
def test_outputs_are_torchs_and_times_are_positive(target: Target) -> None:
    space = load_space("digits")
    network = build_network(space, space.architecture((1, 2, 6, 5, 0, 6)))
    with torch.no_grad():  # statistics of its own data, so that signals keep their size through the layers
        for _ in range(30):
            network(torch.randn(8, *space.input_size, generator=torch.Generator().manual_seed(0)))
    forms = module_forms(network, (target.batch, *space.input_size))
    with torch.inference_mode():
        wanted = network(torch.from_numpy(forms.example)).numpy()
    program = load_runtime(target.runtime).prepare(forms, target, Host(HostClock()))
    found = program.output(forms.example)
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() / np.abs(wanted).max() < TOLERANCES[target.precision]
    calls = program.time(3)
    assert len(calls) == 3
    assert all(call.ms > 0 for call in calls)


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_batches(runtime: str) -> None:
    target = read_target({"name": "b", "runtime": runtime, "batch": 5}, "target")
    if why_not(target):
        assert runtime == "openvino"  # the only extra among them
        return
    space = load_space("digits")
    forms = module_forms(build_network(space, space.architecture((0,) * 6)), (5, *space.input_size))
    program = load_runtime(runtime).prepare(forms, target, Host(HostClock()))
    assert program.output(forms.example).shape == (5, 10)


def test_channels_last_is_an_option_of_eager() -> None:
    target = read_target({"name": "c", "runtime": "torch", "options": {"channels_last": True}}, "target")
    space = load_space("digits")
    network = build_network(space, space.architecture((0,) * 6))
    forms = module_forms(network, (1, *space.input_size))
    with torch.inference_mode():
        wanted = network(torch.from_numpy(forms.example)).numpy()
    program = load_runtime("torch").prepare(forms, target, Host(HostClock()))
    assert network[0].op.conv.weight.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(program.output(forms.example), wanted, atol=1e-5)


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


@dataclass
class FakeDevice:
    """A queue that works only when it is waited for; times passes by what is queued.

    Attributes:
        queue: Milliseconds of work, or events to reach.
        now: Device time.
    """

    queue: list = field(default_factory=list)
    now: float = 0.0

    def event(self) -> "FakeEvent":
        return FakeEvent(self)

    def work(self, ms: float) -> None:
        self.queue.append(ms)

    def synchronize(self) -> None:
        for entry in self.queue:
            if isinstance(entry, FakeEvent):
                entry.reached = self.now
            else:
                self.now += entry
        self.queue.clear()


@dataclass
class FakeEvent:
    device: FakeDevice
    reached: float | None = None

    def record(self) -> None:
        self.device.queue.append(self)

    def elapsed_time(self, end: "FakeEvent") -> float:
        if self.reached is None or end.reached is None:
            raise RuntimeError("the device has not come so far: it was not waited for")
        return end.reached - self.reached


def test_device_times_are_those_of_the_work_between_the_events() -> None:
    """Work of somebody else that is still queued does not count, and every call is waited for."""
    device = FakeDevice()
    device.work(100.0)
    durations = iter([3.0, 2.0, 2.5])
    program = device_program(lambda: device.work(next(durations)), lambda images: np.zeros(1, np.float32), device)
    assert [call.ms for call in program.time(3)] == [3.0, 2.0, 2.5]
    assert device.queue == []


def test_no_gpu_is_said() -> None:
    target = load_target("cuda-graph-fp16-b8")
    assert missing(target) == ("" if torch.cuda.is_available() else "no CUDA device is visible to torch")


def test_a_package_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from latency.runtimes import registry

    needs = ("onepath-package-that-does-not-exist",)
    entry = registry.Entry("ov", ("fp32",), needs, extra="openvino")
    monkeypatch.setitem(registry.RUNTIMES, "openvino", entry)
    reason = why_not(load_target("openvino-cpu-1t"))
    assert "onepath-package-that-does-not-exist, not installed; pip install 'onepath[openvino]'" in reason


def test_runtime_files_import_no_runtime() -> None:
    """Targets are listed, and errors given, without starting inference libraries."""
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from latency.runtimes.base import load_runtime\nfrom latency.runtimes.registry import RUNTIMES\n"
        "for name in RUNTIMES: load_runtime(name)\n"
        "print([m for m in ('onnxruntime', 'openvino', 'onnx', 'nncf') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert importlib.util.find_spec("onnxruntime") is not None
