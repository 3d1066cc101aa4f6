"""`onepath latency`: where tables are kept, what is refused before anything is measured, JSON without NaN."""

import json
import math

import pytest
from latency_cases import made_up_table, simulated_run
from typer.testing import CliRunner

from latency.tables.build import build_table
from latency.tables.describe import uncertainty
from latency.tables.file import load_table, write_table
from latency.target import load_target
from orchestrator.cli.latency import app, tables_folder
from orchestrator.cli.printing import print_json
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import TABLES_FOLDER, Job
from supernet.errors import InputError
from supernet.presets import load_space, read_preset

SPACE, TARGET = ("--space", "digits"), ("--target", "ort-cpu-1t")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder, with no place for tables said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONEPATH_TABLES", raising=False)
    monkeypatch.delenv("ONEPATH_STORAGE", raising=False)
    return tmp_path


def refused(*arguments):
    """Return why a command ended without doing anything."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, InputError), (done.output, done.exception)
    return str(done.exception)


@pytest.mark.parametrize(("num_classes", "storage"), [(10, ""), (10, "shared"), (37, "")])
def test_a_sweep_takes_the_table_that_build_wrote(folder, monkeypatch, num_classes, storage):
    """On the default storage, and on that of the shell: the node of the target gets it, and finds it valid."""
    if storage:
        monkeypatch.setenv("ONEPATH_STORAGE", str(folder / storage))
    space = load_space({"base": "digits", "num_classes": num_classes})
    target = load_target("ort-cpu-1t")
    table = made_up_table(space, target)
    write_table(table, tables_folder())
    definition = {**read_preset("runs", "quickstart")[0], "space": "digits", "targets": ["ort-cpu-1t"]}
    plain = resolved(check_run({**definition, **({"storage": str(folder / storage)} if storage else {})}, "mine"))
    job = Job({**plain, "space": {**plain["space"], "num_classes": num_classes}}, "")  # as `prepare` fixes it
    found = load_table(job.root.child(TABLES_FOLDER).uri, job.space, job.target(target.name))
    assert found == table
    assert found.space == job.space


def test_an_object_store_is_no_folder_for_tables(monkeypatch):
    monkeypatch.setenv("ONEPATH_STORAGE", "s3://bucket/runs")
    assert tables_folder().as_posix() == "onepath-runs/tables"


@pytest.mark.parametrize("command", ["show", "verify"])
@pytest.mark.parametrize(("png", "message"), [("t.jpg", "end the name in .png"), ("no/t.png", "there is no folder no")])
def test_a_picture_that_cannot_be_written_is_refused_first(folder, command, png, message):
    assert message in refused(command, *SPACE, *TARGET, "--png", png)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "1e9"])
def test_no_time_to_measure_in_is_refused(seconds):
    arguments = (*TARGET, "--seconds", seconds)
    assert "seconds: " in refused("build", *SPACE, *arguments)
    assert "seconds: " in refused("measure", "digits:k3e3~z~z-k3e3~z~z", *arguments)
    write_table(made_up_table(), tables_folder())
    assert "seconds: " in refused("verify", *SPACE, *arguments)
    assert "seconds: " in refused("verify", *SPACE, *arguments, "--under-load")


def test_a_table_is_shown_with_how_well_it_is_known():
    table = build_table(load_space("digits"), load_target("ort-cpu-1t"), tables_folder(), run=simulated_run)
    shown = CliRunner().invoke(app, ["show", *SPACE, *TARGET])
    assert uncertainty(table) in shown.output.replace("\n", " ")


def test_a_folder_that_is_a_file_is_refused(folder):
    (folder / "file").write_text("")
    where = (*SPACE, *TARGET, "--folder", "file")
    for more in ((), ("--rebuild",)):
        assert "file: no folder for latency tables" in refused("build", *where, *more)
    for command in ("show", "verify", "expected"):
        assert "no latency table of digits on ort-cpu-1t yet" in refused(command, *where)
    assert "no latency table of digits on ort-cpu-1t yet" in refused(
        "compare", "ort-cpu-1t", "ort-cpu-1t", *SPACE, "--folder", "file"
    )


def test_json_has_no_number_that_is_none(capsys):
    print_json({"tau": math.nan, "all": (1.5, -math.inf, {"a": math.inf}), "text": "nan", "n": 3})
    assert json.loads(capsys.readouterr().out) == {"tau": None, "all": [1.5, None, {"a": None}], "text": "nan", "n": 3}
