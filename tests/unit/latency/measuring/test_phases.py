"""Items made ready for a phase: outputs compared, graphs made once, and once only where one process times them all."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from latency.graphs.export import export_onnx
from latency.graphs.model import example_input
from latency.graphs.quantise import Quantisation, quantise
from latency.measuring.job import Item, Job
from latency.measuring.phases import Phases, SharedPhases
from latency.measuring.timing import HostClock
from latency.runtimes.base import Host
from latency.target import Target, load_target, read_target
from supernet.errors import InputError
from supernet.network import build_network
from supernet.presets import load_space

SPACE = load_space("digits")
ITEM = Item("a", choices=SPACE.kept((0,) * 6), input_shape=SPACE.input_size, check=True)


def phases_of(target: Target, folder: Path) -> Phases:
    return Phases.of(Job(target, (ITEM,), SPACE), folder, lambda text, share: None)


@pytest.mark.parametrize("name", ["ort-cpu-1t", "torch-cpu-1t"])
def test_a_checked_item_is_compared_with_its_module(tmp_path: Path, name: str) -> None:
    target = load_target(name)
    phases = phases_of(target, tmp_path)
    program, facts = phases.prepare(ITEM, phases.forms(ITEM), Host(HostClock()))
    assert 0.0 <= facts["parity"] < 1e-4
    assert program.time(1)[0].ms > 0


def test_what_is_exported_in_a_low_precision_is_compared_with_fp32(tmp_path: Path) -> None:
    phases, whole = phases_of(load_target("torch-cpu-bf16-1t"), tmp_path), replace(ITEM, whole=True)
    _, facts = phases.prepare(whole, phases.forms(whole), Host(HostClock()))
    assert 1e-3 < facts["parity"] < 0.1


def test_the_graph_of_an_item_is_made_once(tmp_path: Path) -> None:
    phases = phases_of(load_target("ort-cpu-1t"), tmp_path)
    assert phases.forms(ITEM).onnx() is phases.forms(ITEM).onnx()


def test_an_item_becomes_int8_by_its_own_settings(tmp_path: Path) -> None:
    """Beside one another in one folder: what is searched as its file will be, and references as in their table."""
    phases = phases_of(load_target("ort-cpu-int8-1t"), tmp_path)
    with_ends = replace(ITEM, int8=Quantisation(float_ends=True))
    counts = [
        sum(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(phases.forms(item).int8()).graph.node)
        for item in (ITEM, with_ends, ITEM)
    ]
    assert counts[0] == counts[2] > counts[1]


@pytest.mark.parametrize(("name", "exported"), [("torch-cpu-1t", True), ("ort-cpu-1t", False)])
def test_a_whole_network_is_measured_in_the_form_in_which_it_is_delivered(
    tmp_path: Path, name: str, exported: bool
) -> None:
    phases = phases_of(load_target(name), tmp_path)
    whole = replace(ITEM, whole=True)
    forms, x = phases.forms(whole), torch.zeros(1, *SPACE.input_size)
    assert isinstance(forms.module(), torch.fx.GraphModule) == exported
    assert phases.forms(whole).module() is not forms.module(), "in every phase it lies elsewhere in memory"
    with torch.inference_mode():
        torch.testing.assert_close(forms.module()(x), phases.forms(ITEM).module()(x))
    assert len(phases.programs) == exported, "an export takes half a second: it is made once"


def test_a_file_in_another_precision_is_refused_unless_the_job_says_so(tmp_path: Path) -> None:
    network = build_network(SPACE, SPACE.architecture((0,) * 6))
    content = export_onnx(network, SPACE.input_size, tmp_path / "fp32.onnx").read_bytes()
    (tmp_path / "int8.onnx").write_bytes(quantise(content, example_input((4, *SPACE.input_size))))
    phases, item = phases_of(load_target("ort-cpu-1t"), tmp_path), Item("file", file=str(tmp_path / "int8.onnx"))
    with pytest.raises(InputError, match=r"int8\.onnx: in int8, and target ort-cpu-1t runs fp32; give it in fp32, or"):
        phases.forms(item)
    assert phases.forms(replace(item, precision="int8")).precision == "int8"


def test_images_of_another_shape_calibrate_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((4, 3, 8, 8), np.float32))
    job = Job(load_target("ort-cpu-int8-1t"), (ITEM,), SPACE, images=str(tmp_path / "images.npy"))
    forms = Phases.of(job, tmp_path, lambda text, share: None).forms(ITEM)
    assert forms.make_images().shape[1:] == SPACE.input_size


def test_elsewhere_an_item_is_prepared_once(tmp_path: Path) -> None:
    options = {"command": [sys.executable, "-c", "print(2.5)"], "runs": 1}
    opener = SharedPhases(
        phases_of(read_target({"name": "b", "runtime": "command", "options": options}, "t"), tmp_path)
    )
    with opener.open() as first, opener.open() as second:
        assert first["a"] is second["a"]
        assert [call.ms for call in first["a"](1)] == [2.5]
    assert opener.phases.parity == {}, "a program outside gives times only"
