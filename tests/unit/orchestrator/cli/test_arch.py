"""`onepath arch`: published networks, JSON files and compact ids as tables, JSON and drawings."""

import json
import re
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from orchestrator.cli.arch import app
from orchestrator.report.architecture import network_svg
from supernet.errors import InputError
from supernet.presets import load_network
from supernet.space import architecture_to_json

PNG_HEADER = b"\x89PNG\r\n\x1a\n"


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_show_prints_blocks_and_exact_counts():
    shown = json.loads(run("show", "proxyless-mobile", "--json"))
    assert (shown["num_params"], shown["num_macs"]) == (4_080_512, 320_427_584)
    assert shown["output_shape"] == [1, 1000]
    assert len(shown["blocks"]) == 1 + 1 + 19 + 2
    block = shown["blocks"][2]
    assert (block["name"], block["short"], block["kernel_size"], block["expand_ratio"]) == ("stage1.0", "k5e3", 5, 3)
    assert (block["in_shape"], block["out_shape"], block["stride"]) == ([16, 112, 112], [32, 56, 56], 2)
    assert sum(block["num_macs"] for block in shown["blocks"]) == shown["num_macs"]


def test_show_reads_ids_and_files(tmp_path):
    space, architecture = load_network("digits:k3e3~z~k7e6-k5e6~k3e3~z")
    file = tmp_path / "architecture.json"
    file.write_text(architecture_to_json(space, architecture))
    from_file, from_id = (json.loads(run("show", reference, "--json")) for reference in (str(file), architecture.id))
    assert from_file["id"] == from_id["id"] == architecture.id
    assert from_file["blocks"] == from_id["blocks"]


def test_show_prints_a_table_that_fits():
    text = run("show", "proxyless-gpu")
    table = [line for line in text.splitlines() if line.startswith(("stem", "stage", "mix", "classifier"))]
    assert len(table) == 1 + 13 + 2
    assert max(map(len, table)) <= 80
    assert "7,119,848 parameters, 465,260,160 MACs at 3x224x224" in text


@pytest.mark.parametrize("reference", ["proxyless-cpu", "digits:k3e3~z~k7e6-k5e6~k3e3~z"])
def test_show_draws(tmp_path, reference):
    file = tmp_path / "network.png"
    run("show", reference, "--png", str(file))
    assert file.read_bytes().startswith(PNG_HEADER)
    assert file.stat().st_size > 10_000


def test_a_drawing_on_a_page_names_its_parts_after_itself():
    space, architecture = load_network("digits:k3e3~z~k7e6-k5e6~k3e3~z")
    one, again, other = (network_svg(space, architecture, name) for name in ("one", "one", "other"))
    assert one.startswith("<svg")
    assert one == again
    assert "MB6 7x7" in one
    names = [set(re.findall(r'id="(p[0-9a-f]+|m[0-9a-f]+)"', drawing)) for drawing in (one, other)]
    assert not names[0] & names[1]


def test_list_names_networks_and_spaces():
    listed = json.loads(run("list", "--json"))
    assert {n["name"]: n["num_params"] for n in listed["networks"]}["proxyless-cpu"] == 4_361_648
    spaces = {s["name"]: s["num_architectures"] for s in listed["spaces"]}
    assert spaces["proxyless-imagenet"] == 221_502_229_807_900_608


def test_what_is_not_there_is_an_input_error():
    with pytest.raises(InputError, match="did you mean 'proxyless-gpu'"):
        run("show", "proxyles-gpu")
    with pytest.raises(InputError, match="there is no folder"):
        run("show", "mobilenet-v2", "--png", "no/such/folder.png")


@pytest.mark.parametrize("form", ["json", "id", "yaml", "yaml with a space's file", "yaml with a space on a file"])
def test_operators_that_a_file_names_are_not_imported_unasked(tmp_path, monkeypatch, form):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "operators_of_a_stranger", raising=False)
    mark = tmp_path / "was here"
    (tmp_path / "operators_of_a_stranger.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    space, architecture = load_network("digits:k3e3~z~k7e6-k5e6~k3e3~z")
    file, own_space = tmp_path / "architecture.json", tmp_path / "space.yaml"
    file.write_text(architecture_to_json(replace(space, operators="operators_of_a_stranger"), architecture))
    own_space.write_text("base: digits\noperators: operators_of_a_stranger\n")
    spaces = {
        "yaml": {"base": "digits", "operators": "operators_of_a_stranger"},
        "yaml with a space's file": str(own_space),
        "yaml with a space on a file": {"base": str(own_space)},
    }
    network = tmp_path / "network.yaml"
    network.write_text(json.dumps({"space": spaces.get(form), "stages": architecture.stages}))
    known = {"json": str(file), "id": f"{own_space}:{architecture.id.split(':')[1]}"}
    reference = known.get(form, str(network))
    with pytest.raises(InputError, match=r"'operators_of_a_stranger', which would be imported and run.*--trust"):
        run("show", reference)
    assert not mark.exists()
    assert json.loads(run("show", reference, "--trust", "--json"))["id"] == architecture.id
    assert mark.exists()
