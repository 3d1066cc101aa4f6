"""Finding, promoting and fetching networks from the command line, against a real registry of a stored sweep."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registry_cases import make_result, open_registry, register
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import CONFIG_FILE, Job
from orchestrator.registry.queue import open_registry as registry_of
from supernet.errors import InputError
from supernet.presets import read_preset

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with a sweep of three networks on one target, two of them on the front, and one that counts."""
    root = tmp_path_factory.mktemp("runs")
    definition, _ = read_preset("runs", "quickstart")
    job = Job(resolved(check_run({**definition, "name": "night", "storage": str(root)}, "night")), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    registry = registry_of(job)
    registry.open_sweep("night", dict(job.config))
    register(registry, make_result("tight", cost=1.0, top1=0.8, budget=1.1), root / "files")
    register(registry, make_result("wide", cost=2.0, top1=0.95, budget=2.5), root / "files")
    register(registry, make_result("poor", cost=2.2, top1=0.9, budget=2.5), root / "files")
    counted = {"unit": "1", "cost": 5e6, "predicted_cost": 5e6, "budget": 5e6}
    register(registry, make_result("count", target="macs", **counted), root / "files")
    return root


@pytest.fixture
def run(storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEPATH_STORAGE", str(storage))
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return run


def test_models_are_listed_with_their_aliases_and_filtered(run: Run) -> None:
    listed = {entry["trial"]: entry for entry in run("models", "--json")}
    assert {name: entry["aliases"] for name, entry in listed.items()} == {
        "tight": ["budget-1_1ms", "fastest", "knee"],
        "wide": ["best", "budget-2_5ms"],
        "poor": [],
        "count": ["best", "fastest", "knee", "macs-5M"],
    }
    assert (listed["wide"]["model"], listed["wide"]["version"]) == ("night-ort-cpu-1t", 2)
    assert listed["wide"]["cost"] == 2.0
    assert [entry["trial"] for entry in run("models", "--max-ms", "2.1", "--min-top1", "0.85", "--json")] == ["wide"]
    assert [entry["trial"] for entry in run("models", "--target", "macs", "--sweep", "night", "--json")] == ["count"]
    text = run("models", "--target", "ort-cpu-1t")
    assert "3 of 4 registered networks" in text
    assert "2.000 ms" in text
    with pytest.raises(InputError, match="no registered network of target 'mac'; did you mean 'macs'"):
        run("models", "--target", "mac")


def test_an_alias_is_moved_and_what_it_replaced_is_said(run: Run, storage: Path) -> None:
    first = run("promote", "night-ort-cpu-1t", "1", "production", "--json")
    assert (first["alias"], first["now"]["trial"], first["before"]) == ("production", "tight", None)
    text = run("promote", "night-ort-cpu-1t", "2", "production")
    assert "models:/night-ort-cpu-1t@production is version 2 now: top-1 95.0 %" in text
    assert "it replaces version 1: top-1 80.0 %" in text
    assert "it was so before" in run("promote", "night-ort-cpu-1t", "2", "production")
    listed = run("models", "--registry", f"sqlite:///{storage}/mlflow.db", "--json")
    assert [entry["trial"] for entry in listed if "production" in entry["aliases"]] == ["wide"]
    for arguments, said in (
        (("night-ort", "1"), "no registered model 'night-ort'; did you mean 'night-ort-cpu-1t'"),
        (("night-ort-cpu-1t", "9"), "night-ort-cpu-1t has no version 9; it has 1, 2, 3"),
        (("night-ort-cpu-1t", "1", "best"), "alias 'best': the sweep sets this one"),
    ):
        with pytest.raises(InputError, match=said):
            run("promote", *arguments)


@pytest.mark.parametrize(
    ("wish", "trial"),
    [
        (("--max-ms", "1.9"), "tight"),
        (("--min-top1", "0.9"), "wide"),
        (("--alias", "knee"), "tight"),
        (("--version", "3"), "poor"),
    ],
)
def test_a_network_is_fetched_by_a_limit_an_accuracy_an_alias_or_a_number(
    run: Run, wish: tuple[str], trial: str
) -> None:
    fetched = run("pull", "night", "--target", "ort-cpu-1t", *wish, "--json")
    assert (fetched["trial"], fetched["folder"]) == (trial, "night-ort-cpu-1t")
    assert json.loads(Path("night-ort-cpu-1t", "model.json").read_text())["trial"] == trial
    assert {path.name for path in Path("night-ort-cpu-1t").iterdir()} == set(fetched["files"])


@pytest.mark.parametrize(
    ("format", "files"),
    [
        ("onnx", {"model.onnx", "preprocessing.json", "image_classifier.py", "model.json"}),
        ("pt2", {"model.pt2", "preprocessing.json", "image_classifier.py", "model.json"}),
        ("module", {"architecture.json", "weights.safetensors", "model.json"}),
    ],
)
def test_a_format_brings_its_files(run: Run, format: str, files: set[str]) -> None:
    text = run("pull", "night", "--target", "ort-cpu-1t", "--alias", "best", "--format", format, "--out", "net")
    assert {path.name for path in Path("net").iterdir()} == files
    assert "models:/night-ort-cpu-1t/2 (best, budget-2_5ms" in text
    with pytest.raises(InputError, match="format 'onx'; did you mean 'onnx'"):
        run("pull", "night", "--target", "ort-cpu-1t", "--alias", "best", "--format", "onx")


def test_commands_start_no_registry_where_there_is_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no sweep in .*empty"):
        run("models", "--storage", "empty")
    with pytest.raises(InputError, match="no registry here"):
        run("models", "--registry", f"sqlite:///{tmp_path}/absent.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_a_network_under_a_name_of_its_own_is_found_without_a_sweep(run: Run, tmp_path: Path) -> None:
    """Said before: no sweep in ..."""
    root = tmp_path / "own"
    registry = open_registry(root)
    registry.open_sweep("parts", {}, running=False)
    register(registry, make_result("mine", sweep="parts"), tmp_path / "files")
    where = ("--storage", str(root))

    def check() -> None:
        assert [entry["trial"] for entry in run("models", *where, "--json")] == ["mine"]
        assert run("promote", "parts-ort-cpu-1t", "1", *where, "--json")["now"]["trial"] == "mine"
        fetched = run("pull", "parts", "--target", "ort-cpu-1t", "--alias", "champion", *where, "--json")
        assert fetched["trial"] == "mine"

    check()
    # Beside a sweep, too, that names this registry itself.
    definition, _ = read_preset("runs", "quickstart")
    changes = {"name": "night", "storage": str(root), "mlflow": {"tracking_uri": f"sqlite:///{root}/mlflow.db"}}
    job = Job(resolved(check_run({**definition, **changes}, "night")), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    check()
    changes["mlflow"] = {"tracking_uri": f"sqlite:///{tmp_path}/of-the-team.db"}
    job = Job(resolved(check_run({**definition, **changes}, "night")), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    registry_of(job)
    check()
    with pytest.raises(InputError, match="no network of sweep 'part' in this registry; did you mean 'parts'"):
        run("pull", "part", "--target", "ort-cpu-1t", "--alias", "best", *where)
    with pytest.raises(InputError, match=r"no sweep 'parts' in .*; --registry names a registry"):
        run("pull", "parts", "--target", "ort-cpu-1t", "--alias", "best", "--storage", str(tmp_path / "empty"))


def test_aliases_that_were_lost_or_moved_are_put_right_and_users_own_stay(tmp_path: Path) -> None:
    registry = open_registry(tmp_path)
    registry.open_sweep("night", {})
    first, second = make_result("a", cost=1.0, top1=0.8), make_result("b", cost=1.4, top1=0.9)
    register(registry, first, tmp_path / "files")
    registry.promote("night-ort-cpu-1t", 1, "champion")
    register(registry, second, tmp_path / "files")
    client, name = registry._client, "night-ort-cpu-1t"
    right = {"best": 2, "fastest": 1, "knee": 1, "budget-1_5ms": 2, "champion": 1}
    assert {alias: int(v) for alias, v in client.get_registered_model(name).aliases.items()} == right
    client.set_registered_model_alias(name, "best", "1")
    client.set_registered_model_alias(name, "budget-9ms", "1")  # of a budget that nobody searched
    client.delete_registered_model_alias(name, "knee")
    again = open_registry(tmp_path)
    again.open_sweep("night", {})
    again.close_sweep("night")
    assert {alias: int(v) for alias, v in client.get_registered_model(name).aliases.items()} == right
    # A network that is made whole again keeps the users' alias; another network in its place does not get it.
    (harmed,) = (tmp_path / "artifacts" / "models").glob(
        f"{client.get_model_version(name, '1').source.split('/')[-1]}/artifacts/data/network/model.onnx"
    )
    harmed.write_bytes(b"")
    register(again, first, tmp_path / "files")
    expected = {"best": 2, "fastest": 3, "knee": 3, "budget-1_5ms": 2, "champion": 3}
    assert {alias: int(v) for alias, v in client.get_registered_model(name).aliases.items()} == expected
    register(again, make_result("a", cost=1.7, top1=0.95), tmp_path / "files")
    expected = {"best": 4, "fastest": 2, "knee": 2, "budget-1_5ms": 2}
    assert {alias: int(v) for alias, v in client.get_registered_model(name).aliases.items()} == expected


def test_the_help_of_the_commands_wants_nothing_heavy() -> None:
    code = "import sys, orchestrator.cli.models; print({'mlflow', 'torch', 'ray', 'rich.table'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr
