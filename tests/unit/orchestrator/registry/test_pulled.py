"""What a pull leaves of a folder: all that is the user's, and nothing of the network that was there before."""

import json
from pathlib import Path

import pytest

from orchestrator.registry.model import PIXELS_FILE
from orchestrator.registry.pulled import NUMBERS_FILE, add, put, write_numbers


def pull(folder: Path, trial: str, *names: str) -> None:
    """Put a network with files of these names, that hold its name, into a folder."""
    ready = folder.with_name("ready")
    ready.mkdir()
    for name in names:
        (ready / name).write_text(trial)
    write_numbers(ready, {"trial": trial, "files": [*names, NUMBERS_FILE]})
    put(ready, folder)
    assert not list(ready.iterdir())
    ready.rmdir()


def held(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir() if file.name != NUMBERS_FILE}


@pytest.mark.parametrize("numbers", ["", "[1]", "{}", '{"files": 1}', '{"files": ["mine.txt", "../kept.txt", 2]}'])
def test_files_that_no_pull_wrote_stay(tmp_path: Path, numbers: str) -> None:
    """Seen: `pull --format onnx --out .` removed a user's own weights.safetensors."""
    folder = tmp_path / "net"
    folder.mkdir()
    mine = dict.fromkeys(("weights.safetensors", "architecture.json", "mine.txt", "model.onnx"), "mine")
    for name, text in mine.items():
        (folder / name).write_text(text)
    (tmp_path / "kept.txt").write_text("kept")
    if numbers:
        (folder / NUMBERS_FILE).write_text(numbers)
    pull(folder, "first", "model.onnx")
    assert held(folder) == mine | {"model.onnx": "first"}
    assert (tmp_path / "kept.txt").exists()


def test_a_pull_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    pull(folder, "first", "model.onnx", "weights.safetensors", "architecture.json")
    add(folder, PIXELS_FILE, b"first")
    (folder / "model.pt2").write_text("mine")
    assert json.loads((folder / NUMBERS_FILE).read_text())["files"][-1] == PIXELS_FILE
    pull(folder, "second", "model.onnx")
    assert held(folder) == {"model.onnx": "second", "model.pt2": "mine"}
    assert json.loads((folder / NUMBERS_FILE).read_text()) == {"trial": "second", "files": ["model.onnx", NUMBERS_FILE]}
