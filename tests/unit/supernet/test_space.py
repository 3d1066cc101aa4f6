"""Spaces as tables: ids and JSON both ways, refusals that name the place."""

import json
import math
from pathlib import Path

import pytest
import torch
from supernet_tiny import TINY, tiny_space

from supernet.cost import trace
from supernet.errors import InputError
from supernet.gates import sample_path
from supernet.presets import load_network, load_space, preset_names
from supernet.rng import generator
from supernet.rows import make_divisible
from supernet.space import (
    Architecture,
    architecture_from_json,
    architecture_to_json,
    read_space,
)

SEARCHED = [name for name in preset_names("spaces") if load_space(name).positions]


def uniform(space):
    width = max(len(p.candidates) for p in space.positions)
    rows = [[float(j < len(p.candidates)) for j in range(width)] for p in space.positions]
    return torch.tensor(rows, dtype=torch.float64)


def random_paths(space, count, key="paths"):
    return [sample_path(uniform(space), generator(key, seed)) for seed in range(count)]


def test_ids_leave_out_activation_and_batch_norm_constants():
    space = load_space("nas-bench-macro")
    assert [op.short for op in space.positions[0].candidates] == ["k3e3", "k5e6", "conv_k1"]
    assert [op.short for op in space.positions[1].candidates] == ["k3e3", "k5e6", "z"]


def test_first_layer_of_a_stage_and_unequal_channels_have_no_zero():
    for name in SEARCHED:
        for layer in load_space(name).layers:
            keeps = layer.stride == 1 and layer.in_channels == layer.out_channels
            assert ("z" in [op.short for op in layer.candidates]) <= (keeps and layer.residual)


@pytest.mark.parametrize("name", SEARCHED)
def test_architectures_go_to_id_and_json_and_back(name):
    space = load_space(name)
    for path in random_paths(space, 200):
        architecture = space.architecture(path)
        assert space.path(architecture) == path
        assert Architecture.parse(architecture.id) == architecture
        assert architecture_from_json(architecture_to_json(space, architecture), "test") == (space, architecture)
    assert len({space.architecture(path).id for path in random_paths(space, 200)}) > 150


@pytest.mark.parametrize("name", preset_names("spaces"))
def test_spaces_go_to_plain_data_and_back(name):
    space = load_space(name)
    assert read_space(json.loads(json.dumps(space.to_dict())), "test") == space


def test_ids_read_back_from_names_files_and_json(tmp_path: Path):
    yaml = tmp_path / "own.yaml"
    yaml.write_text("base: digits\nname: own\nnum_classes: 4\n")
    ops = "k3e3~z~z-k5e6~k3e3~z"
    space, architecture = load_network(f"{yaml}:{ops}")
    assert (space.num_classes, architecture.id) == (4, f"own:{ops}")
    file = tmp_path / "architecture.json"
    file.write_text(architecture_to_json(space, architecture))
    assert load_network(str(file)) == (space, architecture)
    assert load_network(f"digits:{ops}")[1].stages == architecture.stages


@pytest.mark.parametrize("width_mult", [0.5, 1.4])
def test_width_multiplier_rounds_channels(width_mult):
    space = load_space({"base": "proxyless-imagenet", "width_mult": width_mult})
    channels = [trace_.out_shape[0] for trace_ in trace(space)]
    base = [trace_.out_shape[0] for trace_ in trace(load_space("proxyless-imagenet"))]
    for got, plain in zip(channels[:-2], base[:-2], strict=True):
        assert got % 8 == 0
        assert 0.9 * plain * width_mult <= got < plain * width_mult + 8
    assert channels[-2] == (1280 if width_mult <= 1 else make_divisible(1280 * width_mult))


@pytest.mark.parametrize(("value", "rounded"), [(3, 8), (11, 16), (12, 16), (19, 24), (24, 24), (91, 88), (17.9, 24)])
def test_make_divisible(value, rounded):
    # n = max(8, floor((v + 4) / 8) * 8); if n < 0.9 v then n += 8
    assert make_divisible(value) == rounded


def changed(**rows):
    """Return the tiny definition with single keys of its rows replaced."""
    return {**TINY, "rows": [{**row, **rows.get(row["name"], {})} for row in TINY["rows"]]}


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({**TINY, "inputsize": 3}, "unknown key 'inputsize'; did you mean 'input_size'"),
        ({k: v for k, v in TINY.items() if k != "rows"}, "mine.rows: Field required"),
        ({**TINY, "rows": []}, "mine.rows: []: "),
        ({**TINY, "num_classes": 1}, "mine.num_classes: 1: Input should be greater than or equal to 2"),
        ({**TINY, "input_size": [3, 6]}, "mine.input_size[2]: Field required"),
        ({**TINY, "input_size": [3, 6, 0]}, "mine.input_size[2]: 0: "),
        ({**TINY, "width_mult": "wide"}, "mine.width_mult: 'wide': "),
        ({**TINY, "channels": {"steam": 8}}, "channels: unknown key 'steam'; did you mean 'stem'"),
        ({**TINY, "channels": {"stem": -8}}, "mine.channels.stem: -8: "),
        ({**TINY, "name": "a:b"}, "mine.name: 'a:b': "),
        (changed(down={"stride": 0}), "mine.rows[1].stride: 0: "),
        (changed(keep={"skip": "no"}), "mine.rows[2].skip: 'no': "),
        (changed(keep={"scale": "allways"}), "mine.rows[2].scale: 'allways': Input should be 'always'"),
        (changed(down={"kernel_size": [3, 3]}), "(down): the same candidate stands twice"),
        (changed(down={"op": "mb-conv"}), "'mb-conv_k1e2' would stand in ids"),
        (changed(keep={"candidates": [{"op": "zero"}]}), "beside 'candidates'"),
        (changed(keep={"op": "zero"}), "(keep): 'zero' stands for a dropped block; write 'skip: true'"),
        (changed(keep={"name": "down"}), "names must differ"),
        (changed(keep={"blocks": 3000}), "mine.rows[2].blocks: 3000: Input should be less than or equal to 200"),
        (
            changed(down={"kernel_size": list(range(1, 2001, 2)), "expand_ratio": list(range(1, 1001))}),
            "more than 200 c",
        ),
        ({**TINY, "rows": [{**TINY["rows"][2], "name": f"r{i}", "blocks": 200} for i in range(13)]}, "at most 5000"),
        (changed(keep={"kernel_size": {"a": 3}}), "mine.rows[2] (keep).kernel_size: expected a finite number or a sho"),
        (
            changed(keep={"kernel_size": [3, None]}),
            "mine.rows[2] (keep).kernel_size: [3, None]: expected a finite numb",
        ),
        (changed(keep={"expand_ratio": math.nan}), "mine.rows[2] (keep).expand_ratio: nan: expected a finite number"),
        (changed(keep={"": 3}), "(keep): '' is no name of an argument"),
        (changed(keep={"kernel_size": []}), "mine.rows[2] (keep).kernel_size: []: "),
        (changed(keep={"channels": [8]}), "mine.rows[2].channels: [8]: "),
        *[({**TINY, "name": name}, "mine.name: ") for name in (None, ["a"], "..", "../../evil/x", "a\n", "", 3)],
        *[(changed(keep={"name": name}), "mine.rows[2].name: ") for name in (None, ["a"], "../x", "a\nb")],
        ({**TINY, "operators": "os; x"}, "mine.operators: 'os; x': "),
    ],
)
def test_what_does_not_read_is_refused_with_its_place(definition, message):
    with pytest.raises(InputError) as caught:
        read_space(definition, "mine")
    assert message in str(caught.value)
    assert str(caught.value).startswith("mine")


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (changed(down={"op": "mbcnv"}), "down: unknown operator 'mbcnv'; did you mean 'mbconv'"),
        (changed(down={"op": "zer"}), "down: unknown operator 'zer'; known are"),
        (changed(down={"expand": 3}), "down: operator 'mbconv' with"),
        (
            changed(stem={"activation": "relu_6"}),
            "stem: operator 'conv': unknown activation 'relu_6'; did you mean 'relu6'",
        ),
        (changed(keep={"kernel_size": [3, 4]}), "keep: candidate k4e2 gives shape (6, 4, 4)"),
        (
            changed(stem={"kernel_size": 4, "channels": 2, "residual": True}),
            "stem: shape (2, 7, 7) does not fit the shortcut",
        ),
        ({**TINY, "rows": TINY["rows"][:-1]}, "the last row gives shape"),
        ({**TINY, "operators": "no_such_module"}, "cannot import 'no_such_module'"),
        (changed(keep={"kernel_size": "3"}), "keep: candidate k3e2 cannot be built and run on input"),
        (changed(keep={"kernel_size": 0}), "keep: candidate z gives shape (6, 3, 3)"),
        (changed(keep={"expand_ratio": 0}), "keep: candidate k3e0 "),
        (changed(keep={"kernel_size": 10**9 + 1}), "expected a finite number"),
        ({"base": {"base": {"base": 3}}}, "space: 3; expected a mapping"),
        (changed(down={"op": "classifier", "kernel_size": 3, "expand_ratio": 1}), "down: operator 'classifier' with"),
    ],
)
def test_what_does_not_fit_is_refused_when_loaded_naming_the_layer(definition, message):
    with pytest.raises(InputError) as caught:
        load_space(definition)
    assert message in str(caught.value)


def test_a_file_that_is_no_architecture_is_refused(tmp_path: Path):
    for text in ("{", "[]", '{"id": 1}', json.dumps({"space": tiny_space().to_dict(), "stages": [["k3e2"]]})):
        file = tmp_path / "bad.json"
        file.write_text(text)
        with pytest.raises(InputError):
            load_network(str(file))


def test_an_architecture_whose_id_is_not_that_of_its_stages_is_refused(tmp_path: Path):
    space = tiny_space()
    record = json.loads(architecture_to_json(space, space.architecture((0,) * len(space.positions))))
    (tmp_path / "bad.json").write_text(json.dumps({**record, "id": record["id"] + "x"}))
    with pytest.raises(InputError, match=r"bad\.json: its id .* was damaged"):
        load_network(str(tmp_path / "bad.json"))


@pytest.mark.parametrize("code", ["1 / 0", "def f(:", "import no_such_module"])
def test_operators_that_cannot_be_imported_are_refused(code, tmp_path: Path, monkeypatch):
    name = f"own_operators_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=rf"operators: .*{name}"):
        load_space({**TINY, "operators": name})
