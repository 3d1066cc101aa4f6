"""How Ray's environment is set: loopback for oneself, tokens on purpose, and storage that a cluster can share."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest

from orchestrator.cluster.session import require_reachable, require_shared
from supernet.errors import InputError, RunError

SCRIPT = """
import json, os, sys
for name in [n for n in os.environ if n.startswith("RAY_")]:
    del os.environ[name]
os.environ.update(json.loads(sys.argv[2]))
from orchestrator.cluster.session import prepare_environment
prepare_environment(embedded=sys.argv[1] == "embedded")
assert "ray" not in sys.modules
print(json.dumps({n: v for n, v in os.environ.items() if n.startswith(("RAY_", "GLOO"))}))
"""


def environment(kind, **given):
    command = [sys.executable, "-c", SCRIPT, kind, json.dumps(given)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_an_embedded_cluster_has_a_token_of_its_own_and_stays_on_loopback():
    first, second = environment("embedded"), environment("embedded")
    assert first["RAY_AUTH_MODE"] == "token"
    assert len(first["RAY_AUTH_TOKEN"]) == 64
    assert first["RAY_AUTH_TOKEN"] != second["RAY_AUTH_TOKEN"]
    assert first["RAY_USAGE_STATS_ENABLED"] == "0"
    if sys.platform == "linux":
        assert first["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
        assert first["GLOO_SOCKET_IFNAME"] == "lo"


def test_a_joined_cluster_keeps_the_users_token_and_interfaces():
    found = environment("joined", RAY_AUTH_TOKEN_PATH="/secret", GLOO_SOCKET_IFNAME="eth1")
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_AUTH_TOKEN_PATH"] == "/secret"
    assert found["GLOO_SOCKET_IFNAME"] == "eth1"
    assert "RAY_AUTH_TOKEN" not in found
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in found


def test_the_mode_that_the_user_sets_is_left_alone():
    assert environment("embedded", RAY_AUTH_MODE="disabled")["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in environment("embedded", RAY_AUTH_MODE="disabled")


def test_a_cluster_refuses_a_relative_storage(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    require_shared("/shared/runs")
    require_shared("s3://bucket/runs")
    with pytest.raises(
        InputError, match=r"'onepath-runs' is relative, and this sweep joins the cluster at 10\.0\.0\.1"
    ):
        require_shared("onepath-runs")
    monkeypatch.delenv("RAY_ADDRESS")
    require_shared("onepath-runs")


def test_a_cluster_without_a_token_is_refused_in_a_sentence(tmp_path):
    """Seen: a traceback of Ray's."""
    script = "from orchestrator.cluster.session import connect\nwith connect([]): pass"
    around = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        around |= {"RAY_ADDRESS": address, "HOME": str(tmp_path)}
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=around)
    assert f"RunError: cannot join the Ray cluster at {address}: Token authentication is enabled" in found.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:9", "[::1]:9", "127.0.0.1:70000", "no-such-host.invalid:6379"])
def test_an_address_where_nothing_listens_is_refused_at_once(address):
    """Seen: minutes without a word, then lines of Ray's log."""
    with pytest.raises(RunError, match=rf"^RAY_ADDRESS: cannot join .* at {re.escape(address)}: .*unset it"):
        require_reachable(address)


def test_a_node_that_does_not_start_in_time_is_told_in_a_sentence():
    """Seen on a busy machine: a traceback, for Ray raises a bare exception."""
    script = (
        "from orchestrator.cluster.session import connect, prepare_environment\n"
        "prepare_environment(embedded=True)\n"
        "import ray\n"
        "def late(**options): raise Exception('The current node timed out during startup.')\n"
        "ray.init = late\n"
        "with connect([]): pass"
    )
    around = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=around)
    assert "RunError: cannot start Ray on this machine: The current node timed out during startup. " in found.stderr
    assert "The same command tries again" in found.stderr
