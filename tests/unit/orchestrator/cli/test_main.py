"""The command line: exit codes, messages, and how fast it answers."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from orchestrator.cli.main import main
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import CONFIG_FILE, RESULT_FILE, Job, plan_trials
from supernet.plain import to_plain
from supernet.presets import read_preset

ONEPATH = Path(sys.executable).parent / "onepath"


def onepath(*arguments, cwd=None, env=None):
    command = [str(ONEPATH), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=120)


@pytest.fixture
def here(monkeypatch, capfd):
    """Return what runs the command line in this process, where nothing is imported anew."""

    def run(*arguments, cwd=None, env=None):
        monkeypatch.chdir(cwd or Path.cwd())
        for key, value in (env or {}).items():
            monkeypatch.setenv(key, value)
        monkeypatch.setattr(sys, "argv", ["onepath", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code or 0, out, err)

    return run


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


def test_the_command_itself_ends_with_exit_code_2(tmp_path):
    done = onepath("front", "nothing", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("onepath: no sweep 'nothing'")


def test_front_breaks_neither_paths_nor_reasons_in_a_narrow_terminal(here, tmp_path):
    storage = tmp_path / ("a-folder-of-a-long-name-[bold]-" * 3)
    definition, _ = read_preset("runs", "quickstart")
    changes = {"targets": ["macs"], "sweep": {"budget_counts": [5e6]}, "storage": str(storage)}
    job = Job(resolved(check_run({**definition, **changes}, "quickstart")), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    (trial,) = plan_trials(job.run)
    doubt = "the ONNX file differs from the network by 2.0e-02 and [this] is a long line"
    result = TrialResult(
        "quickstart", trial.key, "macs", "budget", 0, 5e6, cost=4523456.0, top1=0.9, validation_top1=0.9
    )
    result = replace(result, num_params=1234, num_macs=4523456, unit="1", doubt=doubt)
    job.trial_store(trial).write_json(RESULT_FILE, to_plain(result))
    before = sorted(storage.rglob("*"))
    done = here("front", "quickstart", "--storage", storage, cwd=tmp_path, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sorted(storage.rglob("*")) == before, "front only reads"
    assert not any(line.startswith(("picture", "report")) for line in lines)
    job.store.write("front.png", b"of the sweep")
    again = here("front", "quickstart", "--storage", storage, cwd=tmp_path).stdout
    assert f"picture {storage}/quickstart/front.png" in again.splitlines()
    assert here("front", "quickstart", "--storage", storage, "--json", cwd=tmp_path).returncode == 0
    assert sorted(storage.rglob("*")) == sorted([*before, storage / "quickstart" / "front.png"])
    assert f"{trial.key} is in doubt: {doubt}" in lines
    assert f"  onepath pull quickstart --target macs --max-ms 4523456 --storage {storage}" in lines
    assert any(line.split()[:3] == ["macs", "5", "M"] for line in lines)


def test_data_build_writes_a_folder(here, tmp_path):
    done = here("data", "build", "digits", tmp_path / "shards", "--json")
    assert done.returncode == 0
    assert (tmp_path / "shards" / "dataset.json").is_file()
