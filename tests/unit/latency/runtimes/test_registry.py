"""Every runtime that this machine can run gives the outputs of torch and times itself."""

import importlib.util

import numpy as np
import pytest
import torch

from latency.graphs.model import module_forms
from latency.measuring.job import why_not
from latency.measuring.timing import HostClock
from latency.runtimes.base import Host, load_runtime
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
