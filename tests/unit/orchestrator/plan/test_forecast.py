"""What a forecast says of memory and of targets that cannot be measured here."""

import json
import re
from dataclasses import replace

import pytest
from rich.console import Console
from shared_mode import in_shared_mode

from orchestrator.data.build import build
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.forecast import KEPT_BYTES, _image_seconds, forecast, forecast_table, storage_bytes
from orchestrator.plan.left import left_of
from orchestrator.plan.times import times_of
from orchestrator.plan.trials import CONFIG_FILE, RESULT_FILE, WARMUP_FILE, Job, plan_trials
from orchestrator.report.live import clock
from supernet.cost import params_table
from supernet.errors import InputError
from supernet.network import Supernet
from supernet.plain import to_sealed
from supernet.presets import load_space, read_preset

BOARD = {"name": "board", "runtime": "command", "device": "x", "options": {"command": ["no-such-program-xyz"]}}


def definition(**changes):
    base = read_preset("runs", "quickstart")[0]
    own = {"mode": "shared", "space": "digits", "targets": ["macs", "ort-cpu-1t", BOARD], "storage": "no-such-folder"}
    base |= {**own, **changes}
    return in_shared_mode(base) if base["mode"] == "shared" else base


@pytest.fixture(scope="module", autouse=True)
def speed():
    """A speed that is given: to measure it takes seconds, and another one each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.plan.forecast._image_seconds", lambda supernet: 1e-3)
        yield


@pytest.fixture
def no_steps(monkeypatch):
    """Memory of steps, which is counted for seconds and not asked here."""
    monkeypatch.setattr("orchestrator.plan.forecast._step_mib", lambda run, supernet: {"training": 1.0})


@pytest.fixture(scope="module")
def found():
    return forecast(check_run(definition(), "mine"))


def test_speed_is_measured_in_processor_time_of_an_image():
    assert 1e-6 < _image_seconds(Supernet(load_space("digits")).train(), seconds=0.05) < 1.0


def test_memory_is_that_of_the_supernet_and_of_a_step(found):
    assert set(found["step_mib"]) == {"warm-up", "architecture", "training"}, "its weights stay as they are"
    assert all(size > 1 for size in found["step_mib"].values())
    table = Console(width=200)
    with table.capture() as captured:
        table.print(forecast_table(found))
    assert f"{found['supernet_mib'] + max(found['step_mib'].values()):.0f} MiB a worker" in captured.get()
    assert "board: not here" in captured.get()


def test_workers_share_a_step(found):
    base = definition()
    halves = {"workers": {"min": 2, "max": 4}, "mode": "independent"}
    warmup = {**base["warmup"], "sharing": {"num_paths": 2}}
    other = forecast(check_run(definition(**halves, warmup=warmup), "mine"))["step_mib"]
    assert set(other) == {"warm-up", "search", "architecture", "training"}
    assert other["training"] == pytest.approx(found["step_mib"]["training"] / 2, rel=0.1)
    assert other["warm-up"] == pytest.approx(found["step_mib"]["warm-up"] / 4, rel=0.2)


def test_targets_that_are_not_here_are_named(found):
    reason = "program 'no-such-program-xyz' not found; install it or correct options.command"
    assert found["not_here"] == {"board": reason}
    assert json.loads(json.dumps(found)) == found


def test_a_forecast_goes_by_the_costs_that_are_at_hand(tmp_path, no_steps):
    """Said before: hours of trials that no network of the space can keep, and of prepared images nothing at all."""
    changes = {"data": {"source": "digits"}, "targets": ["macs"], "storage": str(tmp_path)}
    mixed = forecast(check_run(definition(**changes, sweep={"budget_counts": [1e3, 4e6]}), "mine"))
    reason = r"budget 1,000 on macs: the space cannot go below 585,088 \(its largest .* 4,166,656\); raise the budget"
    assert list(mixed["unsearchable"]) == ["macs-1k"]
    assert re.match(reason, mixed["unsearchable"]["macs-1k"])
    table = Console(width=200)
    with table.capture() as captured:
        table.print(forecast_table(mixed))
    assert "macs-1k: will fail" in captured.get()
    with pytest.raises(InputError, match=r"no trial that is left .*\n  macs-1k: " + reason):
        forecast(check_run(definition(**changes, sweep={"budget_counts": [1e3]}), "mine"))
    build("digits", tmp_path / "shards")
    split = {"source": str(tmp_path / "shards"), "validation_fraction": 0.3}
    with pytest.raises(InputError, match=r"validation_fraction: 0\.3; the shards at .* validation_fraction 0\.1"):
        forecast(check_run(definition(**changes | {"data": split}), "mine"))


def test_a_table_that_is_at_hand_takes_no_time():
    run = check_run(definition(targets=["ort-cpu-1t"]), "mine")
    left = left_of(run)
    found = [times_of(run, replace(left, tables=tables), 1e-3) for tables in (frozenset(), frozenset(left.by_target))]
    assert found[0]["table_seconds"] > found[1]["table_seconds"] == 0


def test_points_count_as_trials_and_are_said_to_be_placed(found, no_steps):
    placed = forecast(check_run(definition(sweep={"points": 8}), "mine"))
    assert placed["trials"] == []
    assert placed["num_trials"] == 24  # on three targets
    assert placed["total_seconds"] > 2 * found["total_seconds"] > 0
    table = Console(width=400)
    with table.capture() as captured:
        table.print(forecast_table(placed))
    assert "24: up to 8 budgets per target: the ends of its front, then its widest gaps, by" in captured.get()
    assert found["num_trials"] == len(found["trials"]) == 6
    assert found["placed_by"] == ""


def test_a_sweep_that_has_begun_is_forecast_by_what_is_left(tmp_path, found, no_steps):
    run = check_run(definition(storage=str(tmp_path)), "mine")
    job = Job(resolved(run), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    job.store.write(WARMUP_FILE, b"")
    for trial in plan_trials(run)[:4]:
        job.trial_store(trial).write(RESULT_FILE, to_sealed(job.result(trial)).encode())
    left = forecast(run)
    assert (left["num_trials"], left["num_finished"], len(left["trials"])) == (2, 4, 2)
    assert (left["warmup_seconds"], left["trial_seconds"]) == (0.0, found["trial_seconds"])
    assert left["phase_seconds"]["train"] == pytest.approx(found["phase_seconds"]["train"] / 3, abs=0.1)
    table = Console(width=400)
    with table.capture() as captured:
        table.print(forecast_table(left))
    assert "2 left, 4 finished: board-f" in captured.get()


def test_baselines_are_counted_with_their_widths_and_training(found, no_steps):
    known = ["mobilenet-v2-32px", "mobilenet-v3-small-32px"]
    more = forecast(check_run(definition(baselines=known), "mine"))
    assert (found["num_baselines"], more["num_baselines"]) == (0, 12)
    alone = forecast(check_run(definition(baselines=known[:1]), "mine"))
    assert alone["total_seconds"] < more["total_seconds"]
    assert more["phase_seconds"]["workers"] > 2 * found["phase_seconds"]["workers"]
    table = Console(width=200)
    with table.capture() as captured:
        table.print(forecast_table(more))
    assert "12 at most, each" in captured.get()
    least, most = clock(more["least_seconds"]), clock(more["total_seconds"])
    assert f"{least} to {most} on this machine's cores, {more['worker_hours']} worker-hours at most" in captured.get()
    assert found["total_seconds"] == found["least_seconds"] < more["least_seconds"] < more["total_seconds"]


def test_a_file_is_not_judged_in_a_forecast_before_its_images_are_prepared(found):
    assert found["num_test_images"] is None
    table = Console(width=200)
    with table.capture() as captured:
        table.print(forecast_table(found))
    assert "without judging its file: the images are not prepared yet" in captured.get()


def test_room_is_asked_for_what_the_trials_that_are_left_keep(tmp_path):
    """Left out before: checkpoints and files of a finished trial stay."""
    run = check_run(definition(storage=str(tmp_path), sweep={"points": 2}), "mine")
    more = check_run(definition(storage=str(tmp_path), sweep={"points": 9}), "mine")
    largest = params_table(load_space("digits")).maximum
    assert storage_bytes(more) - storage_bytes(run) == pytest.approx((3 * 9 - 3 * 2) * KEPT_BYTES * largest, rel=1e-3)
    beside = check_run(definition(storage=str(tmp_path), sweep={"points": 2}, baselines=["mobilenet-v2-32px"]), "mine")
    assert storage_bytes(beside) - storage_bytes(run) == pytest.approx(6 * KEPT_BYTES * largest, rel=1e-3)
    at_once = run.model_copy(update={"max_concurrent": run.max_concurrent + 1})
    assert storage_bytes(at_once) > storage_bytes(run)
