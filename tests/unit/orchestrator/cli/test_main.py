"""The command line: exit codes, messages, and how fast it answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from orchestrator.cli.main import app
from supernet.presets import read_preset

ONEPATH = Path(sys.executable).parent / "onepath"


def onepath(*arguments, cwd=None, env=None):
    command = [str(ONEPATH), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=120)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['onepath', '--help']\n"
        "from orchestrator.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'mlflow', 'numpy', 'pyarrow', 'onnxruntime', 'matplotlib'} & set(sys.modules)\n"
        "print('heavy', sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout
    assert "heavy []" in out


def test_no_help_loses_words_in_brackets():
    """Rich takes them for its own, and prints nothing of them."""

    def params(command):
        yield from command.params
        for below in getattr(command, "commands", {}).values():
            yield from params(below)

    assert [param.name for param in params(get_command(app)) if "[" in (getattr(param, "help", "") or "")] == []


def test_a_signal_while_source_text_runs_ends_with_its_exit_code(tmp_path):
    """Importing makes classes from source text; a plain KeyboardInterrupt in it would end the process by SIGINT."""
    (tmp_path / "early.py").write_text(
        "from orchestrator.cli.main import app, main\n"
        "@app.command()\n"
        "def early():\n"
        "    exec('import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)')\n"
        "main()\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "early", "early"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120)
    assert done.stderr == "onepath: stopped; the same command continues from here\n"
    assert done.returncode == 143


def test_help_answers_at_once():
    def processor_seconds():
        before = os.times()
        assert onepath("--help").returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    onepath("--help")
    # A bound that a heavy import (torch alone takes seconds) breaks, and a busy machine does not.
    assert min(processor_seconds() for _ in range(5)) < 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"serch": 1}, "unknown key 'serch'"),
        ({"targets": ["gpu"]}, "unknown target 'gpu'"),
        ({"sweep": {"budgets_ms": [-3]}}, "-3"),
        ({"data": {"source": "EMPTY"}}, "EMPTY"),
    ],
)
def test_wrong_sweep_ends_with_one_message_before_anything_starts(here, tmp_path, change, message):
    definition, _ = read_preset("runs", "quickstart")
    empty = tmp_path / "EMPTY"
    empty.mkdir()
    if "data" in change:
        change = {"data": {"source": str(empty)}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**definition, **change}))
    done = here("sweep", "run.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("onepath: ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("onepath-runs/quickstart"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("front", "nothing"), "no sweep 'nothing'"),
        (("arch", "show", "proxyless-cpu", "--png", "network.unknown"), "end the name in .png"),
        (("pull", "nothing", "--target", "t", "--max-ms", "1"), "no sweep 'nothing'"),
        (("sweep", "nothing"), "unknown run 'nothing'"),
        (("data", "build", "no-such-folder", "out"), "no-such-folder"),
    ],
)
def test_unknown_things_end_with_exit_code_2(here, tmp_path, arguments, message):
    done = here(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_are_listed(here, tmp_path):
    done = here("settings", "gate", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "## gate")
    told = json.loads(here("settings", "gate", "--json", cwd=tmp_path).stdout)
    assert all(set(one) == {"key", "default", "choices", "meaning"} for one in told)


def test_storage_that_is_away_is_one_line_and_exit_code_1(here, tmp_path):
    """Said before: a traceback."""
    (tmp_path / "runs").symlink_to("runs")  # fails as a mount that is gone does
    done = here("front", "quickstart", "--storage", "runs", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("onepath: a file or a store cannot be used now (")
    assert "Too many levels of symbolic links" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_itself_ends_with_exit_code_2(tmp_path):
    done = onepath("front", "nothing", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("onepath: no sweep 'nothing'")
