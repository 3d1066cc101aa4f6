"""`onepath front`: renews the page that a stopped sweep left, and breaks nothing in a narrow terminal."""

import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.cli.front import show_front
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import stored_results
from orchestrator.plan.trials import CONFIG_FILE, REGISTERED_FILE, RESULT_FILE, Job, plan_trials
from supernet.plain import to_sealed
from supernet.presets import read_preset

DOUBT = "the ONNX file differs from the network by 2.0e-02 and [this] is a long line"


@pytest.fixture
def job(tmp_path):
    """A sweep that was stopped when it had a result, in a folder of a long name."""
    storage = tmp_path / ("a-folder-of-a-long-name-[bold]-" * 3)
    definition, _ = read_preset("runs", "quickstart")
    changes = {"targets": ["macs"], "sweep": {"budget_counts": [5e6]}, "storage": str(storage)}
    job = Job(resolved(check_run({**definition, **changes}, "quickstart")), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    (trial,) = plan_trials(job.run)
    result = TrialResult(
        "quickstart", trial.key, "macs", "budget", 0, 5e6, cost=4523456.0, top1=0.9, validation_top1=0.9
    )
    architecture = job.space.architecture([0] * len(job.space.positions)).id
    result = replace(result, num_params=1234, num_macs=4523456, unit="1", doubt=DOUBT, architecture=architecture)
    job.trial_store(trial).write(RESULT_FILE, to_sealed(result).encode())
    job.trial_store(trial).write_json(REGISTERED_FILE, {"model_uri": "models:/quickstart-macs/1"})
    return job


def test_front_breaks_neither_paths_nor_reasons_in_a_narrow_terminal(here, tmp_path, job):
    storage = job.root.uri
    done = here("front", "quickstart", "--storage", storage, cwd=tmp_path, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"picture {storage}/quickstart/front.png" in lines
    assert f"{plan_trials(job.run)[0].key} is in doubt: {DOUBT}" in lines
    quoted = shlex.quote(storage)
    assert quoted != storage, "a shell reads brackets and spaces itself"
    assert f"  onepath pull quickstart --target macs --max-count 4523456 --storage {quoted}" in lines
    assert not any("not finished" in line for line in lines)
    assert any(line.split()[:3] == ["macs", "5", "M"] for line in lines)


def test_a_server_is_named_and_a_file_has_the_command_that_shows_it(job, capsys):
    """Said before: mlflow ui --backend-store-uri http://mlflow:5000, which cannot start."""
    results = list(stored_results(job).values())
    show_front(job, results, json=False)
    address = shlex.quote(f"sqlite:///{job.root.uri}/mlflow.db")
    assert capsys.readouterr().out.endswith(f"\n  mlflow ui --backend-store-uri {address}\n")
    show_front(Job({**job.config, "mlflow": {"tracking_uri": "http://mlflow:5000"}}, ""), results, json=False)
    assert capsys.readouterr().out.endswith("\n  MLflow is at http://mlflow:5000\n")


def test_what_a_killed_sweep_has_not_done_is_told_and_nothing_is_fetched_that_is_not_there(here, tmp_path, job):
    """Said before: nothing; the `pull` that it told fetched another network, or found none."""
    more = {**job.config, "sweep": {**job.config["sweep"], "budget_counts": {"*": [5e6, 6e6, 7e6]}}}
    job.store.write_json(CONFIG_FILE, more)
    command = f"onepath sweep {shlex.quote(f'{job.store.uri}/{CONFIG_FILE}')} --storage {shlex.quote(job.root.uri)}"
    said = here("front", "quickstart", "--storage", job.root.uri, cwd=tmp_path).stdout
    assert "trials not finished: 2; unless the sweep is running, " in said
    assert said.endswith(f"this goes on: {command}\n")
    job.trial_store(plan_trials(job.run)[0]).remove(REGISTERED_FILE)
    said = here("front", "quickstart", "--storage", job.root.uri, cwd=tmp_path).stdout
    assert "trials not finished: 2; networks not registered, so that `pull` has none of them: 1; " in said
    assert "onepath pull" not in said


def test_for_a_script_front_only_reads(here, tmp_path, job):
    before = sorted(tmp_path.rglob("*"))
    assert here("front", "quickstart", "--storage", job.root.uri, "--json", cwd=tmp_path).returncode == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_the_page_is_of_the_results_that_the_table_shows(job, capsys):
    """Seen: after Ctrl-C the page of an earlier run stood below the new table, without a word."""
    page, results = Path(job.store.uri) / "report.html", list(stored_results(job).values())
    show_front(job, results, json=False)
    assert f"report  {page}" in capsys.readouterr().out.splitlines()
    page.write_text("kept while nothing is newer")
    show_front(job, results, json=False)
    assert page.read_text() == "kept while nothing is newer"
    os.utime(page, (0, 0))
    show_front(job, results, json=False)
    assert DOUBT in page.read_text()
    os.utime(page, (0, 0))
    (page.parent / "front.png").unlink()
    (page.parent / "front.png").mkdir()
    capsys.readouterr()
    show_front(job, results, json=False)
    assert "older than this table, and could not be written: " in (said := capsys.readouterr().out)
    assert "report  " not in said
