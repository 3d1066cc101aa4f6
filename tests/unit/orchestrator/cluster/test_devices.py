"""Devices without a cluster: patience, counted targets, what a node announces, what a restart remembers."""

import json
import os
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from latency.errors import MachineTooNoisy
from latency.measuring.process import WAITING
from latency.tables.file import table_path
from latency.target import read_target
from orchestrator.cli.device import host_and_port, node_command, node_environment, require_head
from orchestrator.cli.main import app
from orchestrator.cluster import devices
from orchestrator.cluster.devices import Patience, ask_costs, teller
from orchestrator.cluster.progress import Board
from orchestrator.cluster.session import DEVICE_RESOURCE, target_resource, target_resources
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.news import News
from orchestrator.plan.trials import Job
from supernet.cost import count_cost
from supernet.errors import InputError, RunError
from supernet.presets import read_preset


@pytest.fixture
def job(tmp_path):
    definition, place = read_preset("runs", "quickstart")
    run = {**definition, "targets": ["params", "macs", "ort-cpu-1t"], "storage": str(tmp_path)}
    return Job(resolved(check_run(run, place)), "")


def test_patience_ends_only_after_so_long_without_the_target():
    now = [0.0]
    patience = Patience(2, lambda: now[0])
    for seconds, present, lost in [(100, False, False), (119, True, False), (230, False, False), (240, False, True)]:
        now[0] = seconds
        assert patience.lost(present) is lost, seconds


def test_a_measurement_says_that_it_waits_for_another_on_its_machine():
    """In the words of the latency room, which knows no news."""
    news = []
    tell = teller(news.append, "trial-a", "measure")
    tell("preparing models", 0.5)
    tell(WAITING, 0.0)
    assert news[0] == News("trial-a", "measure", 50, 100)
    assert news[1] == News("trial-a", "measure", 0, 100, waits_for="another measurement on this machine")


def test_two_targets_of_one_machine_take_turns():
    both = target_resources(["a", "b"])
    assert both == {DEVICE_RESOURCE: 1, target_resource("a"): 1, target_resource("b"): 1}
    assert target_resources(["a"])[DEVICE_RESOURCE] == 1, "a measurement asks for the whole machine"


def test_trials_that_waited_for_one_device_measure_its_table_once(job, monkeypatch):
    """Seen: eight budgets, eight tables in a row, seven of them thrown away."""
    board, measured = Board(), []

    def build(space, target, folder, **others):
        path = table_path(folder, space, target)
        if not path.is_file():
            measured.append(path.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"rows")

    monkeypatch.setattr(devices, "build_table", build)
    monkeypatch.setattr(devices, "leave_table", board.leave)
    monkeypatch.setattr(devices, "left_table", board.table)
    asked = job.space.to_dict(), job.target("ort-cpu-1t").to_dict(), None, 1.0, "trial"
    assert [devices._build_table(*asked) for _ in range(3)] == [b"rows"] * 3
    assert len(measured) == 1


def test_a_machine_that_stays_too_noisy_names_the_setting_of_a_sweep(job, monkeypatch):
    """Said before: --seconds, an option that a sweep does not have."""
    asked = []

    def build(space, target, folder, *, seconds, **others):
        asked.append(seconds)
        raise MachineTooNoisy(f"not written; build it again with more time (--seconds {2 * seconds:g})")

    monkeypatch.setattr(devices, "build_table", build)
    with pytest.raises(RunError, match=r"--seconds 360\); a sweep takes that from measure\.table_seconds, now 60$"):
        devices._build_table(job.space.to_dict(), job.target("ort-cpu-1t").to_dict(), None, 60.0, "trial")
    assert asked == [60.0, 120.0, 180.0]


@pytest.mark.parametrize(("target", "count"), [("params", "num_params"), ("macs", "num_macs")])
def test_counted_targets_need_no_device_and_are_exact(job, target, count):
    space = job.space
    costs = ask_costs(job, target)(0.0, False)
    for path in [tuple(0 for _ in space.positions), tuple(len(p.candidates) - 1 for p in space.positions)]:
        architecture = space.architecture(path)
        assert count_cost(space, architecture)[count] == costs.total(path)


def test_a_node_announces_its_targets_and_offers_no_processors():
    command = node_command("10.0.0.1:6379", ["ort-cpu-1t"], 0, "10.0.0.7", Path("/tmp/ray-b"))
    words = dict(pairwise(command))
    assert words["--temp-dir"] == "/tmp/ray-b"
    assert words["--address"] == "10.0.0.1:6379"
    assert words["--num-cpus"] == "0"
    assert words["--node-ip-address"] == "10.0.0.7"
    assert json.loads(words["--resources"]) == target_resources(["ort-cpu-1t"])
    assert "--block" in command


def test_a_node_uses_tokens_unless_told_otherwise():
    assert node_environment({})["RAY_AUTH_MODE"] == "token"
    assert node_environment({"RAY_AUTH_MODE": "disabled"})["RAY_AUTH_MODE"] == "disabled"


def test_serve_prints_a_line_that_a_shell_can_run():
    done = CliRunner().invoke(app, ["device", "serve", "--target", "ort-cpu-1t", "--address", "h:1", "--print"])
    assert done.exit_code == 0
    assert done.output.startswith("RAY_AUTH_MODE=")
    assert """ray start --address h:1 --num-cpus 0 --resources '{"device": 1, "target:ort-cpu-1t": 1}'""" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "params", "--address", "h:1"], "counted or published"),
        (["--target", "ort-cpu-1", "--address", "h:1"], "ort-cpu-1t"),
        (["--target", "ort-cpu-1t"], "give --address HEAD:PORT"),
        (["--target", "no-program.yaml", "--address", "h:1", "--print"], "program 'no-such-program-xyz' not found"),
        *[
            (["--target", "ort-cpu-1t", "--address", address, "--print"], f"address {address!r}; give that of the")
            for address in ("auto", "h", "h:", ":6379", "h:x", "h:0", "h:99999", "ray://h:10001")
        ],
    ],
)
def test_serve_refuses_what_cannot_work(monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    board = {"name": "board", "runtime": "command", "options": {"command": ["no-such-program-xyz"]}}
    Path("no-program.yaml").write_text(json.dumps(board))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = CliRunner().invoke(app, ["device", "serve", *arguments])
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)


def test_serve_without_a_head_ends_at_once_and_says_so():
    with socket.socket() as bound:  # bound and not listening: nothing answers, and nobody else takes the port
        bound.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{bound.getsockname()[1]}"
        done = CliRunner().invoke(app, ["device", "serve", "--target", "ort-cpu-1t", "--address", where])
    assert isinstance(done.exception, RunError)
    assert f"no head answers at {where}" in str(done.exception)


def test_a_head_that_answers_is_joined():
    with socket.create_server(("127.0.0.1", 0)) as head:
        require_head(*host_and_port(f"127.0.0.1:{head.getsockname()[1]}"))
    assert host_and_port("[fe80::1]:6379") == ("fe80::1", 6379)


def test_counted_targets_have_no_unit_of_time(job):
    assert job.target("params").unit == "1"
    assert read_target({"name": "x", "runtime": "torch"}, "x").unit == "ms"


def test_serve_joins_again_when_cut_off_and_takes_its_node_with_it(tmp_path):
    log = tmp_path / "log"
    script = (
        "import sys\nfrom orchestrator.cli import device\ndevice.REJOIN_SECONDS = 0.05\n"
        f"node = [sys.executable, '-c', \"import os, time; open({str(log)!r}, 'a').write(f'{{os.getpid()}} ');\"\n"
        f'  "time.sleep(60 if len(open({str(log)!r}).read().split()) == 3 else 0)"]\n'
        "device._stay(node, {})\n"
    )
    serving = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not log.exists() or len(log.read_text().split()) < 3:
            assert time.monotonic() < deadline, "it did not join again"
            time.sleep(0.05)
    finally:
        serving.terminate()
        serving.wait(timeout=30)
    last = int(log.read_text().split()[-1])
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)
