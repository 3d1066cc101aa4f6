"""Which figures of running work become points of which curve."""

from orchestrator.plan.news import News
from orchestrator.registry.queue import points


def test_the_warm_up_has_curves_of_the_sweeps_own_and_trials_theirs():
    news = {
        "supernet": News(
            "supernet", "warm-up", 40, 240, {"loss": 1.5, "learning_rate": 0.1, "images_per_second": 900.0}
        ),
        "macs-f0.5": News("macs-f0.5", "search", 20, 150, {"loss": 0.5}),
        "ort-cpu-1t": News("ort-cpu-1t", "latency table", 10, 100, waits_for="the device of ort-cpu-1t"),
    }
    assert list(points(news, {"macs-f0.5"})) == [
        ("", {"warm-up_loss": 1.5, "warm-up_learning_rate": 0.1, "warm-up_images_per_second": 900.0}, 40),
        ("macs-f0.5", {"search_loss": 0.5}, 20),
    ]
