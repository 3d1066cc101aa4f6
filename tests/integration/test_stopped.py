"""A sweep that is asked to end does so: one line, its exit code, nothing left running, and the command continues."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ray_play import play
from repository import ROOT

SWEEP = [sys.executable, "-m", "orchestrator.cli.main", "sweep", str(ROOT / "benchmarks" / "small_sweep.yaml")]
LINE = "onepath: stopped; the same command continues from here\n"


def wait_for(condition, process, log, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def family(pid):
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def is_alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def hears_ctrl_c() -> None:
    """Undo what a shell does to jobs in its background, and what they hand down: Ctrl-C is ignored there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("number", "code", "whole_group"),
    [(signal.SIGTERM, 143, False), (signal.SIGTERM, 143, True), (signal.SIGINT, 130, True)],
    ids=["kill", "systemd, Slurm, containers", "Ctrl-C"],
)
def test_a_stopped_sweep_says_one_line_and_leaves_nothing(tmp_path, number, code, whole_group):
    log, folder = tmp_path / "log", tmp_path / "runs" / "small"
    with log.open("w") as file:
        driver = subprocess.Popen(
            [*SWEEP, "--storage", str(tmp_path / "runs")],
            cwd=ROOT,
            stdout=file,
            stderr=file,
            start_new_session=True,
            preexec_fn=hears_ctrl_c,
        )
        wait_for(lambda: (folder / "starts" / "warmup.json").exists(), driver, log)
        if number == signal.SIGINT:  # in the trial, and after a second driver was refused
            kept = (folder / "config.json").read_bytes()
            edited = tmp_path / "edited.yaml"
            edited.write_text(Path(SWEEP[-1]).read_text().replace("train: {num_steps: 300", "train: {num_steps: 200"))
            other = [*SWEEP[:-1], str(edited), "--storage", str(tmp_path / "runs")]
            second = subprocess.run(other, cwd=ROOT, capture_output=True, text=True)
            assert second.returncode == 1
            assert f"sweep 'small' is being run by process {driver.pid}" in second.stderr
            assert (folder / "config.json").read_bytes() == kept, "the first driver's trials go by it"
        members = family(driver.pid)
        (os.killpg if whole_group else os.kill)(driver.pid, number)
        assert driver.wait(timeout=90) == code, log.read_text()
    said = log.read_text()
    assert said.endswith(LINE), said
    assert "Traceback" not in said
    assert "stack" not in said.lower()
    _, alive = psutil.wait_procs([member for member in members if is_alive(member)], timeout=30)
    assert [member.cmdline()[:3] for member in alive if is_alive(member)] == []


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_threads_that_read_news_do_not_outlive_ray(tmp_path):
    found = play("threads", tmp_path)
    assert found["read"] > 0
    assert found["read_after_the_end"] > 0
