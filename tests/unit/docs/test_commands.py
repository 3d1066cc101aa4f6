"""Command lines of README and documentation: commands, options, presets and targets exist; the cheap ones run."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from documents import PAGES, blocks, commands, write_files
from latency_cases import made_up_table
from repository import ROOT

from latency.tables.file import write_table
from latency.target import load_target
from orchestrator.cli.main import app, main
from orchestrator.plan.check import load_run, resolved
from orchestrator.plan.config import RunConfig
from orchestrator.plan.trials import CONFIG_FILE, WARMUP_FILE
from supernet.plain import read
from supernet.presets import load_space, preset_names

COMMANDS = list({command.words: command for page in PAGES for command in commands(page)}.values())
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9]*")
"""`T`, `NAME`: what the reader puts in himself."""


def of(program):
    return [command for command in COMMANDS if command.words[0] == program]


@pytest.mark.parametrize("command", of("onepath"), ids=str)
def test_a_command_of_onepath_is_understood(command, folder):
    write_files(command.page, folder)
    found, words = typer.main.get_command(app), list(command.words)
    while hasattr(found, "commands") and len(words) > 1 and not words[1].startswith("-"):
        assert words[1] in found.commands, f"no command {words[1]!r}"
        found, words = found.commands[words[1]], words[1:]
    if words[1:] and words[1:] != ["--help"]:
        given = found.make_context(words[0], words[1:]).params
        for name, exists in (("space", load_space), ("target", load_target)):
            values = given.get(name) or []
            for value in [values] if isinstance(values, str) else values:
                if not PLACEHOLDER.fullmatch(value):
                    exists(value)
        if words[0] == "sweep" and not given["config"].endswith(".yaml"):
            assert given["config"] in preset_names("runs")


@pytest.mark.parametrize("command", of("make"), ids=str)
def test_a_target_of_make_exists(command):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(command.words[1:]) <= {*targets, *(word for word in command.words if "=" in word)}


@pytest.mark.parametrize("command", of("python"), ids=str)
def test_a_module_takes_its_options(command):
    assert command.words[1] == "-m"
    spec = importlib.util.find_spec(command.words[2])
    if spec is not None and spec.submodule_search_locations:  # a package runs its own __main__
        spec = importlib.util.find_spec(f"{command.words[2]}.__main__")
    assert spec is not None
    source = Path(spec.origin).read_text() + (ROOT / "benchmarks" / "common.py").read_text()
    for word in command.words[3:]:
        assert not word.startswith("--") or f'"{word}"' in source, f"{command.words[2]} takes no {word}"


CHEAP = [
    command
    for command in of("onepath")
    if command.words[1:2] in (("--help",), ("arch",))
    or command.words[1:3] in (("latency", "targets"), ("latency", "show"), ("latency", "expected"))
    or "--dry-run" in command.words
]


@pytest.mark.parametrize("command", CHEAP, ids=str)
def test_a_cheap_command_runs(command, folder, monkeypatch, capfd):
    write_files(command.page, folder)
    own = folder / "mine.yaml"
    if own.exists():  # its images are the reader's
        own.write_text(own.read_text().replace("/data/parts", "digits").replace("flip-crop", "light"))
    write_table(made_up_table(), folder / "onepath-runs" / "tables")
    early = folder / "onepath-runs" / "quickstart"  # a sweep whose supernet is warm
    early.mkdir()
    (early / CONFIG_FILE).write_text(json.dumps(resolved(load_run("quickstart"))))
    (early / WARMUP_FILE).touch()
    monkeypatch.setattr(sys, "argv", list(command.words))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capfd.readouterr().err
    assert capfd.readouterr().out


def test_the_cheap_ones_are_many():
    assert len(CHEAP) >= 6


SETTINGS = [
    block
    for page in PAGES
    for block in blocks(page)
    if block.language == "yaml" and set(yaml.safe_load(block.text)) <= set(RunConfig.model_fields)
]


@pytest.mark.parametrize("block", SETTINGS, ids=str)
def test_settings_that_a_page_shows_exist(block):
    base = yaml.safe_load((ROOT / "configs" / "runs" / "quickstart.yaml").read_text())
    read(RunConfig, {**base, **yaml.safe_load(block.text)}, str(block))


def test_make_help_lists_every_target():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    for name in re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split():
        assert re.search(rf"^{name}\s", listed, re.MULTILINE), name
