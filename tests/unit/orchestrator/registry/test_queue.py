"""Which figures of running work become points of which curve."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.news import News
from orchestrator.plan.trials import Job
from orchestrator.registry.queue import Registering, folder_of, points
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
