"""The earlier sweep that a warm-up goes on from: found by name or folder, refused with the reason, kept in the plan."""

import json
from pathlib import Path

import pytest
import yaml
from repository import ROOT

from orchestrator.data.storage import Storage
from orchestrator.plan.check import check_run, load_run, resolved
from orchestrator.plan.config import RunConfig
from orchestrator.plan.continued import check_continued
from orchestrator.plan.forecast import forecast, forecast_table
from orchestrator.plan.inherited import inherited
from orchestrator.plan.trials import CONFIG_FILE, TRAIN_FOLDER, WARMUP_FILE, WARMUP_KEY, Job
from supernet.errors import InputError


def run_of(root: Path, name: str, **changes: object) -> RunConfig:
    definition = yaml.safe_load((ROOT / "benchmarks" / "small_sweep.yaml").read_text())
    return check_run({**definition, "name": name, "storage": str(root), **changes}, "here")


def warmup(**changes: object) -> dict[str, object]:
    return {"num_steps": 10, "batch_size": 32, **changes}


def sweep(root: Path, name: str, *, warm: bool = True, **changes: object) -> Storage:
    """Leave what a sweep of that name leaves once its supernet is warm."""
    store = Storage(str(root)).child(name)
    store.write_json(CONFIG_FILE, resolved(run_of(root, name, **changes)))
    if warm:
        store.write(WARMUP_FILE, b"weights")
    return store


@pytest.mark.parametrize("by_folder", [False, True])
def test_a_sweep_is_found_by_its_name_or_its_folder(tmp_path: Path, by_folder: bool) -> None:
    root = tmp_path / "elsewhere" if by_folder else tmp_path
    store = sweep(root, "early", warmup=warmup(num_steps=4000, batch_size=128))
    run = run_of(tmp_path, "late", warmup=warmup(**{"from": store.uri if by_folder else "early"}))
    found = inherited(run)
    assert found.store.uri == store.uri
    assert (found.warmup.num_steps, found.space.num_classes) == (4000, 10)
    assert inherited(run_of(tmp_path, "late")) is None


def test_what_does_not_fit_is_refused_with_the_reason(tmp_path: Path) -> None:
    space = run_of(tmp_path, "x").space
    sweep(tmp_path, "cold", warm=False)
    sweep(tmp_path, "wide", space={**space, "width_mult": 2.0})
    sweep(tmp_path, "many", space={**space, "num_classes": 100})
    sweep(tmp_path, "random", warmup=warmup(sharing={"zero_init_residual": False}))
    for origin, reason in {
        "clod": r"here.warmup.from: no sweep at .*/clod; did you mean 'cold'.*; give a name or a sweep's folder",
        "cold": "here.warmup.from: .*/cold has no warmed-up supernet yet",
        "wide": r"here.warmup.from: .*/wide has searched another space \(small, 100 architectures; here small, 100\)",
        "random": r".*/random began with zero_init_residual False, .* True; .* `sharing: {zero_init_residual: false}`",
    }.items():
        with pytest.raises(InputError, match=reason):
            inherited(run_of(tmp_path, "late", warmup=warmup(**{"from": origin})), "here")
    assert inherited(run_of(tmp_path, "late", warmup=warmup(**{"from": "many"}))).space.num_classes == 100


def test_a_sweep_is_checked_before_anything_starts_and_not_missed_when_it_is_warm(tmp_path: Path) -> None:
    definition = resolved(run_of(tmp_path, "late", warmup=warmup(**{"from": "early"})))
    assert definition["warmup"]["from"] == "early"
    (tmp_path / "late.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    with pytest.raises(InputError, match=r"late\.yaml\.warmup\.from: no sweep"):
        load_run(str(tmp_path / "late.yaml"))
    sweep(tmp_path, "early")
    assert load_run(str(tmp_path / "late.yaml")).warmup.origin == "early"
    Storage(str(tmp_path)).child("early").filesystem.delete_dir(str(tmp_path / "early"))
    late = Storage(str(tmp_path)).child("late")
    late.child(TRAIN_FOLDER, WARMUP_KEY, "search-000100").write("state.pt", b"")
    run = load_run(str(tmp_path / "late.yaml"))  # said before: no sweep at .../early, though a checkpoint was there
    with pytest.raises(InputError, match="no sweep"):
        inherited(run)  # whose checkpoints turn out to be broken does not begin afresh in silence
    late.write(WARMUP_FILE, b"weights")
    assert inherited(run) is None


def test_it_stands_in_the_configuration_and_does_not_change_once_the_warm_up_has_begun(tmp_path: Path) -> None:
    sweep(tmp_path, "early")
    stored = json.loads(json.dumps(resolved(run_of(tmp_path, "late", warmup=warmup(**{"from": "early"})))))
    job = Job(resolved(run_of(tmp_path, "late", warmup=warmup())), "")
    assert check_continued(stored, job) == ["warmup.from: 'early' -> None"]
    job.store.write(WARMUP_FILE, b"weights")
    with pytest.raises(InputError, match=r"warmup\.from: 'early' -> None"):
        check_continued(stored, job)


def test_the_name_that_python_needs_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="warmup: unknown key 'origin'"):
        run_of(tmp_path, "late", warmup=warmup(origin="early"))


def test_a_forecast_says_what_it_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.plan.forecast._image_seconds", lambda supernet: 1e-3)
    monkeypatch.setattr("orchestrator.plan.forecast._step_mib", lambda run, supernet: {"training": 1.0})
    sweep(tmp_path, "early", warmup=warmup(num_steps=4000))
    found = forecast(run_of(tmp_path, "late", warmup=warmup(num_steps=400, **{"from": "early"})))
    assert found["warmup_saved_seconds"] == pytest.approx(10 * found["warmup_seconds"], rel=0.1)
    (row,) = (row for row in forecast_table(found).columns[1].cells if "supernet of" in str(row))
    assert "/early: saves the" in row
    assert forecast(run_of(tmp_path, "late"))["warmup_from"] is None
