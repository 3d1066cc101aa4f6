"""Which figures of running work become points of which curve."""

import errno
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.machines import require_same
from orchestrator.plan.news import News
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import CONFIG_FILE, REGISTERED_FILE, Job, Trial, plan_trials
from orchestrator.registry.queue import Registering, folder_of, points
from orchestrator.registry.server import RegistryAway
from supernet.errors import InputError
from supernet.presets import read_preset


def test_the_warm_up_has_curves_of_the_sweeps_own_and_trials_theirs():
    news = {
        "supernet": News(
            "supernet", "warm-up", 40, 240, {"loss": 1.5, "learning_rate": 0.1, "images_per_second": 900.0}
        ),
        "macs-f0.5": News("macs-f0.5", "search", 20, 150, {"loss": 0.5}),
        "a baseline": News("a baseline", "train", 20, 150, {"loss": 0.5}),
        "ort-cpu-1t": News("ort-cpu-1t", "latency table", 10, 100, waits_for="the device of ort-cpu-1t"),
    }
    assert list(points(news, {"macs-f0.5"})) == [
        ("", {"warm-up_loss": 1.5, "warm-up_learning_rate": 0.1, "warm-up_images_per_second": 900.0}, 40),
        ("macs-f0.5", {"search_loss": 0.5}, 20),
    ]


def test_what_ranks_take_of_their_machines_are_system_metrics_of_their_trial():
    told = {"memory_usage_megabytes": 900.0}
    news = [News("a", "search", 20, 150, {"loss": 0.5})]
    news += [
        News(key, "system", 1_800_000_010, numbers=told, rank=rank) for key in ("a", "supernet") for rank in (0, 1)
    ]
    system = {"system/rank0/memory_usage_megabytes": 900.0, "system/rank1/memory_usage_megabytes": 900.0}
    assert list(points({item.subject: item for item in news}, {"a"})) == [
        ("a", {"search_loss": 0.5}, 20),
        ("a", system, 1_800_000_010),
        ("", system, 1_800_000_010),
    ]


def test_a_sweeps_folder_has_one_id_and_a_copy_has_it_too(tmp_path: Path) -> None:
    definition, _ = read_preset("runs", "quickstart")
    job, other = (
        Job(resolved(check_run({**definition, "storage": str(tmp_path / name)}, "quickstart")), "")
        for name in ("one", "other")
    )
    found = folder_of(job)
    assert folder_of(job) == found
    assert found.place.endswith(f":{tmp_path}/one/quickstart")
    assert folder_of(other).id != found.id
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    copied = folder_of(Job({**job.config, "storage": str(tmp_path / "copy")}, ""))
    assert (copied.id, copied.alone) == (found.id, True)
    assert not folder_of(Job({**job.config, "mlflow": {"tracking_uri": "http://mlflow:5000"}}, "")).alone


class Curves:
    """A registry that keeps the points it is given."""

    def __init__(self) -> None:
        self.points: list[tuple[str, str, dict[str, float], int]] = []

    def log_progress(self, *point: Any) -> None:
        self.points.append(point)


def test_work_without_figures_delays_no_curve(tmp_path: Path) -> None:
    """A warm-up of a few seconds right behind a latency table had no point in MLflow."""
    definition, _ = read_preset("runs", "quickstart")
    job = Job(resolved(check_run({**definition, "storage": str(tmp_path)}, "quickstart")), "")
    with ThreadPoolExecutor(1) as thread, Registering(job, thread, lambda *_: {}, print) as registering:
        registering.registry = curves = Curves()
        registering.curves({"ort-cpu-1t": News("ort-cpu-1t", "latency table", 3, 100)})
        registering.curves({"supernet": News("supernet", "warm-up", 20, 40, {"loss": 2.0})})
        assert registering._point is not None
        registering._point.result()
        registering._last_point = -1e9
        registering.curves({"supernet": News("supernet", "warm-up", 20, 40, {"loss": 2.0})})
    assert curves.points == [("quickstart", "", {"warm-up_loss": 2.0}, 20)]


class Register:
    """A registry that takes every network, but for one, and knows whether it was closed."""

    refused, closed = "", False

    def __init__(self) -> None:
        self.versions: dict[str, Mapping[str, str]] = {}

    def register(self, result: TrialResult, files: Mapping[str, Path], versions: Mapping[str, str]) -> str:
        if result.trial == self.refused:
            raise InputError("tags of models:/night-macs/1: top1: 'high': no number")
        self.versions[result.trial] = versions
        return f"models:/night-macs/{result.trial}"

    def close_sweep(self, sweep: str, files: Mapping[str, bytes]) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r".*No space left"),
        (TypeError("no such operator\nin torch.export"), r"TypeError: no such operator \(test_queue\.py:\d+\)"),
    ],
    ids=["a full disk", "an operator that is not exported"],
)
def test_a_network_whose_files_are_not_to_be_had_keeps_no_other_from_the_registry(
    tmp_path: Path, error: Exception, reason: str
) -> None:
    """Said before: a traceback; the networks behind it were not registered, nor was the report written."""
    definition, _ = read_preset("runs", "quickstart")
    changes = {"targets": ["macs"], "sweep": {"budget_counts": [2e6, 3e6, 5e6]}, "storage": str(tmp_path)}
    job = Job(resolved(check_run({**definition, **changes}, "quickstart")), "")
    trials = plan_trials(job.run)

    def files(job: Job, trial: Trial, folder: Path) -> dict[str, Path]:
        if trial == trials[0]:
            raise error
        return {}

    lost = rf"2 of 3 results could not be registered \(trial {trials[0].key}: {reason}.*{CONFIG_FILE}"
    with ThreadPoolExecutor(1) as thread, Registering(job, thread, files, print) as registering:
        registering.registry = registry = Register()
        registry.refused = trials[1].key
        for trial in trials:
            registering.add(trial, job.result(trial, cost=1e6, top1=0.9, validation_top1=0.9))
        assert re.search(lost, registering.finish())
    assert [job.trial_store(trial).exists(REGISTERED_FILE) for trial in trials] == [False, False, True]
    assert registry.closed


class Gone(Register):
    """A registry that does not answer, and knows what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def register(self, result: TrialResult, files: Mapping[str, Path], versions: Mapping[str, str]) -> str:
        self.asked.add(result.trial)
        raise RegistryAway("MLflow at http://mlflow:5000: not reachable")

    def close_sweep(self, sweep: str, files: Mapping[str, bytes]) -> None:
        self.asked.add(sweep)
        raise RegistryAway("MLflow at http://mlflow:5000: not reachable")


def test_a_registry_that_is_away_at_the_end_is_given_up_once_for_all_results(tmp_path: Path) -> None:
    """Took before: a try for each result, of minutes where a route drops what it is sent."""
    definition, _ = read_preset("runs", "quickstart")
    changes = {"targets": ["macs"], "sweep": {"budget_counts": [2e6, 3e6, 5e6]}, "storage": str(tmp_path)}
    job = Job(resolved(check_run({**definition, **changes}, "quickstart")), "")
    trials, said = plan_trials(job.run), list[str]()
    with (
        ThreadPoolExecutor(1) as thread,
        Registering(job, thread, lambda *_: {}, said.append, pause=0.01, patience=0.0) as registering,
    ):
        registering.registry = gone = Gone()
        for trial in trials:
            registering.add(trial, job.result(trial, cost=1e6, top1=0.9, validation_top1=0.9))
        assert "3 of 3 results could not be registered (MLflow at http://mlflow:5000: " in registering.finish()
    assert gone.asked == {trials[0].key}
    assert len(said) == 1


def test_a_network_is_registered_with_the_versions_that_it_was_measured_with(tmp_path: Path) -> None:
    definition, _ = read_preset("runs", "quickstart")
    changes = {"targets": ["macs", "ort-cpu-1t"], "sweep": {"budget_fractions": [0.5]}, "storage": str(tmp_path)}
    job = Job(resolved(check_run({**definition, **changes}, "quickstart")), "")
    counting, timed = plan_trials(job.run)
    require_same(job, timed.target, {"cpu": "A", "versions": {"onnxruntime": "1.2"}})
    with ThreadPoolExecutor(1) as thread, Registering(job, thread, lambda *_: {}, print) as registering:
        registering.registry = registry = Register()
        for trial in (counting, timed):
            registering.add(trial, job.result(trial, cost=1e6, top1=0.9, validation_top1=0.9))
        assert registering.finish() == ""
    assert registry.versions == {counting.key: {}, timed.key: {"onnxruntime": "1.2"}}
