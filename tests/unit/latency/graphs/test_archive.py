"""Torch exports of others: torch's own load, hostile ones are refused before anything in them runs."""

import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export.pt2_archive import PT2ArchiveWriter

from latency.graphs.archive import MODEL, SAMPLES, check_archive, load_program
from latency.graphs.model import file_forms
from supernet.errors import InputError
from supernet.network import build_network
from supernet.presets import load_space

WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"


class Unusual(nn.Module):
    """Much of what operators of users' own are made of: constants, open shapes, texts as arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding="same", padding_mode="zeros")
        self.edge = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.act = nn.GELU(approximate="tanh")
        self.register_buffer("scale", torch.ones(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        left, right = (self.edge(self.act(self.conv(x))) * self.scale + torch.tensor(2.0)).chunk(2, dim=1)
        y = F.interpolate(torch.cat([left, right.flip(1)], 1), scale_factor=2.0)
        y = y.view(y.shape[0], 2, 4, -1).transpose(1, 2).reshape(y.shape[0], -1)
        return F.softmax(y.mean(1, keepdim=True) + F.pad(y, (1, 1)), 1)


def export(file: Path, network: nn.Module | None = None, *, open_batch: bool = True) -> Path:
    space = load_space("digits")
    network = network or build_network(space, space.architecture((1, 6, 3, 0, 6, 6)))
    shapes = ({0: torch.export.Dim("batch")},) if open_batch else None
    program = torch.export.export(network.eval(), (torch.zeros(2, 1, 16, 16),), dynamic_shapes=shapes)
    torch.export.save(program, file)
    return file


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("plain") / "network.pt2")


@pytest.mark.parametrize("open_batch", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_what_torch_writes_is_loaded(tmp_path: Path, own: bool, open_batch: bool) -> None:
    network = Unusual() if own else None
    file = export(tmp_path / "network.pt2", network, open_batch=open_batch)
    x = torch.randn(2, 1, 16, 16)
    assert check_archive(file) == file.read_bytes()
    torch.testing.assert_close(load_program(file).module()(x), torch.export.load(file).module()(x))


class Evil:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.mark}'",)


def changed(plain: Path, file: Path, changes: dict[str, bytes | Callable[[bytes], bytes]]) -> Path:
    """Write an archive anew with some records replaced or added, as torch itself writes it."""
    reader = torch._C.PyTorchFileReader(str(plain))
    records = {name: reader.get_record(name) for name in reader.get_all_records()}
    for name, change in changes.items():
        records[name] = change(records[name]) if callable(change) else change
    with PT2ArchiveWriter(str(file)) as writer:
        for name, content in records.items():
            if name.startswith(("data/", "models/")):
                writer.write_bytes(name, content)
    return file


def pickled(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Evil(mark), buffer)
    return buffer.getvalue()


def first_weight_pickled(content: bytes) -> bytes:
    config = json.loads(content)
    next(iter(config["config"].values()))["use_pickle"] = True
    return json.dumps(config).encode()


def object_constant(prefix: str) -> bytes:
    entry = {"path_name": f"{prefix}0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    return json.dumps({"config": {"c": entry}}).encode()


def pickles(kind: str, mark: Path) -> dict:
    return {
        "weight": {WEIGHTS: first_weight_pickled, "data/weights/weight_0": pickled(mark)},
        "tensor constant": {CONSTANTS: object_constant("tensor_"), "data/constants/tensor_0": pickled(mark)},
        "object constant": {
            CONSTANTS: object_constant("opaque_obj_"),
            "data/constants/opaque_obj_0": pickle.dumps(Evil(mark)),
        },
        "sample inputs": {SAMPLES: pickled(mark)},
        "weights of old": {"data/weights/model.pt": pickled(mark)},
    }[kind]


@pytest.mark.parametrize("kind", ["weight", "tensor constant", "object constant", "sample inputs", "weights of old"])
def test_a_pickle_anywhere_is_refused_and_not_run(plain: Path, tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "was here"
    evil = changed(plain, tmp_path / "evil.pt2", pickles(kind, mark))
    with pytest.raises(InputError, match=r"evil\.pt2: not loaded: .*could run code"):
        file_forms(evil, batch=1)
    assert not mark.exists()
    with suppress(Exception):  # whatever it makes of what came out
        torch.export.load(evil)
    assert mark.exists(), "torch alone runs it: without this the test would show nothing"


def graph(change: Callable[[dict], object]) -> Callable[[bytes], bytes]:
    def changed_graph(content: bytes) -> bytes:
        model = json.loads(content)
        change(model)
        return json.dumps(model).encode()

    return changed_graph


def first_node(model: dict) -> dict:
    return model["graph_module"]["graph"]["nodes"][0]


def set_expression(model: dict, text: str) -> None:
    sizes = model["graph_module"]["graph"]["tensor_values"]["input"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = text


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.update(guards_code=["__import__('os').system('true')"]),
        lambda model: first_node(model).update(target="torch.os.system"),
        lambda model: first_node(model).update(target="torch.ops.aten.conv2d.default.__class__"),
        lambda model: first_node(model)["inputs"][2].update(arg={"as_string": "/etc/passwd"}),
        lambda model: first_node(model)["inputs"][2].update(arg={"as_graph": {"name": "g", "graph": {}}}),
        lambda model: set_expression(model, "__import__('os').system('true')"),
        lambda model: set_expression(model, "Symbol('s0', positive=True).__class__"),
        lambda model: model["graph_module"]["graph"]["inputs"][0]["as_tensor"].update(name="x=print('evil')"),
        lambda model: model["graph_module"]["module_call_graph"][0]["signature"].update(in_spec="[1, {}]"),
        lambda model: model["graph_module"]["module_call_graph"][0]["signature"].update(forward_arg_names=["a):\n b"]),
        lambda model: model["graph_module"].update(treespec_namedtuple_fields={"os.system": ["a"]}),
    ],
)
def test_a_graph_that_would_become_other_code_is_refused(plain: Path, tmp_path: Path, change: Callable) -> None:
    evil = changed(plain, tmp_path / "evil.pt2", {MODEL: graph(change)})
    with pytest.raises(InputError, match=r"evil\.pt2: not loaded: models/model\.json: "):
        check_archive(evil)


def test_an_expression_runs_as_code_without_the_check(plain: Path, tmp_path: Path) -> None:
    """What the graph's rules are for: torch evaluates the size of a tensor."""
    mark = tmp_path / "was here"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    evil = changed(plain, tmp_path / "evil.pt2", {MODEL: graph(lambda model: set_expression(model, code))})
    with pytest.raises(InputError, match="expr_str is"):
        load_program(evil)
    assert not mark.exists()
    with suppress(Exception):  # whatever it makes of what came out
        torch.export.load(evil)
    assert mark.exists()


def test_an_archive_that_two_readers_read_differently_is_refused(plain: Path, tmp_path: Path) -> None:
    """Torch falls back to the format of old, read by another reader, where the first one fails."""
    evil = tmp_path / "evil.pt2"
    evil.write_bytes(plain.read_bytes())
    with zipfile.ZipFile(evil, "a") as archive:
        archive.writestr("version", "8.20")
    with pytest.raises(InputError, match=r"evil\.pt2: not "):
        check_archive(evil)


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_another_file_is_no_export(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "network.pt2"
    file.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"{file}: not a torch export")):
        check_archive(file)


def test_a_damaged_export_is_an_error_of_the_file(plain: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(plain.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"cut\.pt2"):
        load_program(cut)
    other = changed(plain, tmp_path / "other.pt2", {MODEL: graph(lambda model: model.pop("graph_module"))})
    with pytest.raises(InputError, match=r"other\.pt2: torch cannot load this export"):
        load_program(other)
