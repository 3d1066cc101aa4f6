"""Whose a sweep's run and its networks are: those of one folder, also where another had the name before."""

import dataclasses
from pathlib import Path

import pytest
from registry_cases import make_result, open_registry, register

from orchestrator.registry.runs import Folder
from orchestrator.registry.store import Registry
from supernet.errors import InputError


def test_a_run_belongs_to_one_folder_in_all_experiments(registry: Registry, root: Path) -> None:
    mine, other = Folder("aa", "here:/runs/mine"), Folder("bb", "there:/runs/mine")
    run = registry.open_sweep("mine", {})  # of an earlier version, which knew no folders
    assert registry.open_sweep("mine", {}, folder=mine) == run
    told = rf"sweep 'mine': .* from here:/runs/mine since 20.* \(--name\), .* delete its run {run} in MLflow"
    elsewhere = Registry(f"sqlite:///{root}/mlflow.db", "another experiment")
    for opened in (registry, elsewhere):
        with pytest.raises(InputError, match=told):
            opened.open_sweep("mine", {}, folder=other)
    assert registry.open_sweep("mine", {}, folder=mine) == run
    assert elsewhere.open_sweep("mine", {}, folder=mine) != run  # its configuration may name another experiment
    later = registry.open_sweep("mine", {}, folder=dataclasses.replace(other, alone=True))
    assert registry.open_sweep("mine", {}, folder=dataclasses.replace(other, alone=True)) == later
    assert [registry._client.get_run(one).data.tags["onepath.folder"] for one in (run, later)] == ["aa", "bb"]


def test_curves_of_a_sweep_whose_folder_was_deleted_are_none_of_the_new_ones(registry: Registry, root: Path) -> None:
    """Said before: the curves, accuracy and page of the deleted sweep, while the new one searched."""
    gone, new = Folder("aa", "here:/runs/over", alone=True), Folder("bb", "here:/runs/over", alone=True)

    def log(opened: Registry, loss: float) -> None:
        for trial, name in (("", "warm-up_loss"), ("t", "search_loss")):
            opened.log_progress("over", trial, {name: loss}, 20)

    before = registry.open_sweep("over", {}, folder=gone)
    log(registry, 2.0)
    register(registry, make_result("t", sweep="over"), root / "files")
    registry.close_sweep("over", {"report.html": b"of the first"})
    again = open_registry(root)
    after = again.open_sweep("over", {}, folder=new)
    log(again, 1.0)
    client = again._client
    for parent, loss, status, files in ((before, 2.0, "FINISHED", {"report.html"}), (after, 1.0, "RUNNING", set())):
        (trial,) = client.search_runs([again.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
        assert (trial.data.metrics["search_loss"], trial.info.status) == (loss, status)
        assert ("top1" in trial.data.metrics) == (status == "FINISHED")
        assert client.get_run(parent).data.metrics["warm-up_loss"] == loss
        assert {file.path for file in client.list_artifacts(parent)} == files


def test_networks_of_a_deleted_folder_are_none_of_the_new_sweeps(registry: Registry, root: Path) -> None:
    """Said before: `best` of the new sweep was a network of the deleted one's, of other images."""
    gone, new = Folder("aa", "here:/runs/parts", alone=True), Folder("bb", "here:/runs/parts", alone=True)
    client, name = registry._client, "parts-ort-cpu-1t"
    registry.open_sweep("parts", {}, folder=gone)
    kept = make_result("f0.5", sweep="parts", cost=1.4, top1=0.8)
    register(registry, make_result("f0.3", sweep="parts", cost=1.0, top1=0.95), root / "files")
    register(registry, kept, root / "files")
    register(registry, make_result("t", sweep="parts", target="torch-cpu-1t"), root / "files")
    client.set_registered_model_alias(name, "champion", "1")
    registry.open_sweep("parts", {}, folder=gone)
    assert [network.result.trial for network in registry.networks("parts")] == ["f0.3", "f0.5", "t"]

    registry.open_sweep("parts", {}, folder=new)
    with pytest.raises(InputError, match="no network of sweep 'parts'"):
        registry.networks("parts")
    assert "parts" not in {network.result.sweep for network in registry.networks()}
    assert client.get_registered_model(name).aliases == {"champion": 1}, "a user's own stays"
    assert client.get_registered_model("parts-torch-cpu-1t").aliases == {}
    assert not client.get_registered_model(name).description
    assert register(registry, kept, root / "files") == f"models:/{name}/3", "the same figures, of another sweep"
    registry.close_sweep("parts")
    (network,) = registry.networks("parts")
    assert (network.version, network.aliases) == (3, ("best", "budget-1_5ms", "fastest", "knee"))
    assert registry.lacks([network.result]) == []
    left = client.search_model_versions(f"name = '{name}'")
    assert {int(version.version) for version in left} == {1, 3}, "nothing but the same trial's is replaced"


def test_two_sweeps_share_no_registered_model(registry: Registry, root: Path) -> None:
    """`parts` on `lab-ort-cpu-1t` and `parts-lab` on `ort-cpu-1t` make the same name."""
    registry.open_sweep("parts", {}, targets=["lab-ort-cpu-1t"])
    register(registry, make_result("t", sweep="parts", target="lab-ort-cpu-1t"), root / "files")
    told = r"sweep 'parts-lab', target 'ort-cpu-1t': .* model 'parts-lab-ort-cpu-1t' is one of sweep 'parts'"
    with pytest.raises(InputError, match=told):
        registry.open_sweep("parts-lab", {}, targets=["torch-cpu-1t", "ort-cpu-1t"])
    registry.open_sweep("parts-lab", {}, targets=["torch-cpu-1t"])
    with pytest.raises(InputError, match=told):
        register(registry, make_result("t", sweep="parts-lab"), root / "files")
    assert registry.open_sweep("parts", {}, targets=["lab-ort-cpu-1t"]), "its own is no obstacle"
    assert {n.result.sweep for n in registry.networks() if n.model == "parts-lab-ort-cpu-1t"} == {"parts"}
