"""What a rank takes of its machine: sampled from real processes, told at intervals, and named as MLflow names it."""

import subprocess
import sys
import time
from queue import Queue

import torch

from orchestrator.cluster.usage import EVERY_SECONDS, Usage, usage_told
from orchestrator.plan.news import News


def test_processor_and_memory_are_those_of_the_process_and_of_what_it_started() -> None:
    now = [0.0]
    usage = Usage(torch.device("cpu"), clock=lambda: now[0])
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    now[0] = 1.0
    busy = usage()
    assert busy["cpu_utilization_percentage"] >= 15, "a fifth of the second that passed by the clock given"
    assert busy["memory_usage_megabytes"] > 50
    program = "import time\nheld = b'x' * 300_000_000\nprint('held', flush=True)\ntime.sleep(300)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        now[0] = 2.0
        assert usage()["memory_usage_megabytes"] > busy["memory_usage_megabytes"] + 250
        child.kill()
    now[0] = 3.0
    assert usage()["memory_usage_megabytes"] < busy["memory_usage_megabytes"] + 250


def test_a_rank_tells_at_intervals_as_long_as_it_works() -> None:
    told: Queue[News] = Queue()
    with usage_told("trial-a", 1, told.put, lambda: {"memory_usage_megabytes": 7.0}, seconds=0.01):
        first, second = told.get(timeout=60), told.get(timeout=60)
    assert (first.key, first.rank, first.numbers) == ("trial-a", 1, {"memory_usage_megabytes": 7.0})
    assert first.step % EVERY_SECONDS == 0
    assert second.step >= first.step > 1.7e9, "those of a rank that is started again come later"
    count = told.qsize()
    time.sleep(0.05)
    assert told.qsize() == count


def test_short_work_tells_nothing() -> None:
    told: list[News] = []
    with usage_told("trial-a", 0, told.append, dict):
        pass
    assert told == []
