"""What a trial comes to: a network that passes the gate, one of a lower limit, or a rejected one; killed or not."""

import errno
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

import onnx
import pytest
import yaml
from repository import ROOT
from rich.text import Text
from trial_scenes import Scene

from latency.tables.file import table_path
from orchestrator.cluster.tasks import LOST
from orchestrator.data.build import build
from orchestrator.data.storage import Storage
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.stored import num_left, stored_results
from orchestrator.plan.trials import ONNX_FILE, OUTCOME_FILE, RESULT_FILE, WEIGHTS_FILE, Job
from orchestrator.report.end import describe
from orchestrator.trial.corrections import Correction, corrections_of
from orchestrator.trial.files import files_of
from orchestrator.trial.records import DamagedFile, Outcome, checksum, read_record, write_record
from orchestrator.trial.trial import _can_correct, _outcome, run_trial
from supernet.cost import macs_table, params_table
from supernet.errors import RunError
from supernet.presets import load_space
from supernet.proposals import best_within


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("trial")
    build("digits", made / "digits", validation_fraction=0.05, test_fraction=0.05, seed=0)
    return made


@pytest.fixture
def scene(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    def make(
        name: str, slow: list[float], fraction: float = 0.4, target: str = "ort-cpu-1t", **changes: object
    ) -> Scene:
        definition = yaml.safe_load((ROOT / "benchmarks" / "small_sweep.yaml").read_text())
        definition |= {"targets": [target], "sweep": {"budget_fractions": [fraction]}, "name": name}
        run = check_run({**definition, "storage": str(tmp_path)}, name)
        return Scene(Job(resolved(run), str(folder / "digits")), slow, **changes)

    return make


def test_a_network_over_its_budget_is_replaced_and_killed_anywhere_it_ends_alike(scene) -> None:
    quiet = scene("quiet", [1.04, 1.03])
    result = quiet.finish()
    assert (result.status, result.num_corrections, result.reason) == ("done", 1, "")
    assert result.trained_top1 == read_record(quiet.store, OUTCOME_FILE, Outcome).top1
    assert result.cost <= result.budget
    (over,) = corrections_of(quiet.store)
    assert over.measured_cost > result.budget
    assert over.architecture != result.architecture
    assert result.predicted_cost == pytest.approx(result.cost / 1.03), "the prediction is the table's own"
    killed = scene("killed", [1.04, 1.03], dies=True)
    assert replace(killed.finish(), sweep="quiet") == result
    assert {"train 0", "weights 1", "outcome 1", "measure 1", "over the budget, derive again"} <= set(killed.steps)
    names = ["outcome.json", "weights.safetensors", "model.onnx", "model.pt2", "measurement.json", "corrections.json"]
    assert [killed.store.read(name) for name in names] == [quiet.store.read(name) for name in names]
    assert killed.finish() == replace(result, sweep="killed"), "what is finished is only read"


def test_a_device_that_stays_over_is_given_up_after_two_corrections(scene) -> None:
    stubborn = scene("stubborn", [1.0], least=1.002)
    result = stubborn.finish()
    assert (result.status, result.num_corrections) == ("rejected", 2)
    assert "over the budget of" in result.reason
    assert result.top1 is not None
    assert [step for step in stubborn.steps if step.startswith("train")] == ["train 0", "train 1", "train 2"]


def test_a_device_that_has_slowed_down_is_caught_and_nothing_is_trained_again(scene) -> None:
    slowed = scene("slowed", [1.3])
    result = slowed.finish()
    assert (result.status, result.num_corrections) == ("rejected", 0)
    assert "(+30%; 10% allowed, gate.prediction_error)" in result.reason
    assert "over the budget" in result.reason
    line = Text.from_markup(describe(result)).plain
    assert line.startswith(f"{slowed.trial.key}: top-1 ")
    assert f"rejected: {result.reason}" in line


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("hiccup", [1.05, 1.5])
def test_a_device_that_was_disturbed_for_a_moment_is_asked_once_more(scene, hiccup, dies) -> None:
    """The first time over the budget alone, the second time over the prediction too."""
    disturbed = scene("disturbed", [0.99], hiccup=hiccup, dies=dies)
    result = disturbed.finish()
    assert (result.status, result.num_corrections) == ("done", 0)
    assert result.cost == pytest.approx(0.99 * result.predicted_cost)
    assert disturbed.steps.count("measure 0") == 2 + dies
    assert disturbed.finish() == result, "what is finished is only read"


def test_what_is_measured_beside_networks_of_the_table_is_free_of_what_moves_them_all(scene) -> None:
    moved = scene("moved", [0.99 * 1.1], machine=1.1)
    result = moved.finish()
    assert (result.status, result.num_corrections, result.doubt) == ("done", 0, "")
    assert result.cost == pytest.approx(0.99 * result.predicted_cost)
    assert (result.cost_median, result.cost_error) == (pytest.approx(result.cost), pytest.approx(1e-3 * result.cost))


@pytest.mark.parametrize("table", [1.0, 1.3], ids=["the machine is as it was", "its table is measured anew"])
def test_a_machine_that_is_another_one_now_rejects_nothing_for_good(scene, table) -> None:
    """All networks take 30 % more than when the table was measured: this one may be good, and another no better."""
    slow = scene("another", [0.99 * 1.3], machine=1.3)
    said = (
        r"\(\+29%.*; but networks of the latency table are 30% slower than when .*; the same command measures it again"
    )
    with pytest.raises(RunError, match=said):
        slow.finish()
    slow.slow, slow.machine, slow.table = [0.99], 1.0, table
    result = slow.finish()
    assert (result.status, result.num_corrections) == ("done", 0)
    assert result.cost == pytest.approx(0.99 * result.predicted_cost)
    assert [step for step in slow.steps if step.startswith("train")] == ["train 0"]


@pytest.mark.parametrize("slow", [1.04, 1.3], ids=["over its budget", "and over the prediction"])
def test_a_network_that_is_too_slow_by_a_noisy_figure_is_neither_replaced_nor_rejected(scene, slow) -> None:
    """Said before: over the budget; and another network was searched and trained for nothing."""
    busy = scene("busy", [slow], noise="only 12% of the calls ran undisturbed")
    with pytest.raises(RunError, match=r"over the budget.*; but only 12% of .*; the same command measures it again$"):
        busy.finish()
    assert busy.steps.count("measure 0") == 2
    busy.slow, busy.noise = [0.99], ""
    result = busy.finish()
    assert (result.status, result.num_corrections, result.doubt) == ("done", 0, "")
    assert result.cost == pytest.approx(0.99 * result.predicted_cost)
    assert [step for step in busy.steps if step.startswith("train")] == ["train 0"]


def test_a_network_that_keeps_its_budget_by_a_noisy_figure_is_only_in_doubt(scene) -> None:
    result = scene("calm", [0.99], noise="load 3").finish()
    assert (result.status, result.doubt) == ("done", "noisy measurement: load 3")


def test_a_trained_network_survives_storage_that_is_away(scene) -> None:
    """Said before: nothing; the network's files were removed and it was trained again."""
    trained = scene("away", [0.9])
    trained.finish()

    class Away(Storage):
        def read(self, name: str) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    before = trained.store.names()
    with pytest.raises(RunError, match="cannot be read now"):
        _outcome(Away(trained.store.uri), 0, lambda: pytest.fail("trained"), lambda: pytest.fail("repaired"))
    assert trained.store.names() == before


def test_a_trial_whose_storage_is_away_fails_with_a_reason(scene) -> None:
    """Said before: the trial's process ended."""
    away = scene("gone", [0.9], target="macs")
    write_record(away.store, OUTCOME_FILE, Outcome("some", 0.9, 10, 10, checksum(b""), 0))
    (Path(away.store.root) / WEIGHTS_FILE).symlink_to("/proc/self/mem")  # EIO, as on a mount that is gone
    result = run_trial(away.job, away.trial, params_table(away.job.space), here=True)
    assert result.status == "failed"
    assert result.budget == away.trial.reference(params_table(away.job.space))
    assert "Input/output error" in result.reason
    assert result.reason.endswith("; the same command tries again")


@pytest.mark.parametrize("error", [TypeError("cannot be exported\nmore"), MemoryError()])
def test_what_fails_in_a_trials_own_process_is_its_reason_and_not_tried_again(
    scene, monkeypatch, caplog, error
) -> None:
    """Said before: the trial's process ended; after ten tries, and ten more."""

    def fails(*asked: object) -> None:
        raise error

    monkeypatch.setattr("orchestrator.trial.trial.finish", fails)
    failing = scene("failing", [0.9], target="macs")
    result = run_trial(failing.job, failing.trial, macs_table(failing.job.space), here=True)
    assert result.status == "failed"
    assert re.fullmatch(r"(TypeError: cannot be exported|MemoryError) \(test_trial\.py:\d+\)", result.reason)
    assert "Traceback" in caplog.text
    assert "in fails\n    raise error" in caplog.text


def test_what_ray_has_lost_is_left_to_another_start(scene, monkeypatch) -> None:
    def lost(*asked: object) -> None:
        raise LOST("an actor died")

    monkeypatch.setattr("orchestrator.trial.trial.finish", lost)
    losing = scene("losing", [0.9], target="macs")
    with pytest.raises(LOST, match="an actor died"):
        run_trial(losing.job, losing.trial, macs_table(losing.job.space), here=True)


def test_a_damaged_file_of_a_finished_trial_is_made_again_by_what_its_message_says(scene, tmp_path) -> None:
    """Said before: remove it; and the trial, which has a result, was not run again."""
    mended = scene("mended", [0.9])
    result = mended.finish()
    write_record(mended.store, RESULT_FILE, result)
    whole = mended.store.read(WEIGHTS_FILE)
    mended.store.write(WEIGHTS_FILE, b"flipped")
    with pytest.raises(
        DamagedFile, match=r"mended/.*/weights\.safetensors: .*remove it and result\.json beside it and"
    ):
        files_of(mended.job, mended.trial, tmp_path)
    mended.store.remove(WEIGHTS_FILE)
    assert not num_left(mended.job, stored_results(mended.job)), "that alone would not do"
    mended.store.remove(RESULT_FILE)
    assert num_left(mended.job, stored_results(mended.job)) == {mended.trial.target: 1}
    assert mended.finish() == result
    assert mended.store.read(WEIGHTS_FILE) == whole


def test_a_baseline_on_a_slowed_machine_names_the_table_of_its_sweep(scene, tmp_path) -> None:
    """Said before: a table of the baseline's own space, which nothing ever measures."""
    slow = scene("baselines", [0.99 * 1.3], machine=1.3)
    outer = {**slow.job.config, "name": "night", "space": "scattered-digits", "storage": str(tmp_path / "outer")}
    slow.job = replace(slow.job, outer=outer)
    table = table_path(tmp_path / "outer" / "tables", load_space("scattered-digits"), slow.job.target("ort-cpu-1t"))
    with pytest.raises(RunError, match=re.escape(f"remove {table}, and a new table")):
        slow.finish()


def test_where_no_network_keeps_a_corrected_budget_the_first_one_is_rejected(scene) -> None:
    tight = scene("tight", [1.05], fraction=1e-6)
    result = tight.finish()
    assert (result.status, result.num_corrections) == ("rejected", 0)
    assert tight.steps.count("train 0") == 1


def test_what_would_come_to_the_same_network_corrects_nothing(scene) -> None:
    """Said before: nothing; under limits the same network was searched and trained two more times."""
    free = scene("free", [])
    table = macs_table(free.job.space)
    costs = replace(table, candidates=tuple(tuple(max(row) - cost for cost in row) for row in table.candidates))
    limited = replace(free.job, config={**free.job.config, "limits": {"macs": table.minimum}})
    smallest = best_within(-table.matrix, table, inf)
    budget, architecture = costs.total(smallest), free.job.space.architecture(smallest).id
    over = Correction(architecture, 1.01 * budget)
    assert _can_correct(free.job, free.trial, costs, budget, [over])
    assert not _can_correct(limited, free.trial, costs, budget, [over]), "no other network keeps the limit"
    assert not _can_correct(free.job, free.trial, costs, budget, [over, over]), "it came again"


def test_an_export_that_is_broken_is_caught(scene) -> None:
    """Another network's weights in the delivered file: it runs, it is as fast, and it answers something else."""
    sound = scene("broken", [0.9])
    assert sound.finish().status == "done"
    model = onnx.load_from_string(sound.store.read(ONNX_FILE))
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    weights[-1].CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weights[-1]), weights[-1].name))
    content = model.SerializeToString()
    sound.store.write(f"{ONNX_FILE}.sha256", checksum(content).encode())
    sound.store.write(ONNX_FILE, content)
    result = sound.finish()
    assert result.status == "rejected"
    assert "model.onnx (fp32) differs from the trained network by" in result.reason
