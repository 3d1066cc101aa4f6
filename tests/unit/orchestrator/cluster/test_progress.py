"""News as they are kept and counted; the actor's way over Ray is in the sweep's tests."""

import ray

from orchestrator.cluster.progress import Board, Speed, leave_table, left_table, poster
from orchestrator.plan.news import News
from orchestrator.plan.workers import WorkersConfig


def test_the_board_keeps_the_latest_news_of_each_key_and_of_each_of_its_ranks():
    board = Board()
    for news in (News("a", "search", 1, 10), News("b", "wait", waits_for="a device"), News("a", "search", 2, 10)):
        board.post(news)
    for step in (10, 20):
        board.post(News("a", "system", step, rank=1))
    assert board.read() == {
        "a": News("a", "search", 2, 10),
        "b": News("b", "wait", waits_for="a device"),
        "a/rank1": News("a", "system", 20, rank=1),
    }


def test_speed_counts_the_images_since_the_last_look():
    now = [100.0]
    speed = Speed(batch_size=32, step=500, clock=lambda: now[0])
    now[0] = 104.0
    assert speed.at(510) == 80.0
    now[0] = 105.0
    assert speed.at(515) == 160.0


def test_what_a_run_needs_is_said_in_words():
    assert WorkersConfig().wanted == "1 worker with 1 CPU"
    several = WorkersConfig(min=2, max=4, cpus=8.0, gpus=1.0, resources={"train": 1.0})
    assert several.wanted == "2 workers with 8 CPU, 1 GPU, 1 train each"


def test_without_a_cluster_news_go_nowhere_and_none_is_started():
    poster()(News("a", "search", 1, 10))
    leave_table("a.parquet", b"rows")
    assert left_table("a.parquet") is None
    assert not ray.is_initialized()
