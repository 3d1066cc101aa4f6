"""Everything of a sweep in an object store, images included: killed halfway and continued from there.

The store is a real S3 server in a process of its own, reached as any other one.
"""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
import yaml
from pyarrow import fs
from repository import ROOT

from orchestrator.cluster.lease import held
from orchestrator.data.batches import ImageData
from orchestrator.data.build import build
from orchestrator.data.storage import Storage
from orchestrator.plan.trials import POINTS_FILE
from orchestrator.trial.records import starts_of
from supernet.errors import InputError, RunError
from supernet.plain import parse_json


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """URI of an empty bucket; the environment tells pyarrow where its server is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    log = (tmp_path_factory.mktemp("s3") / "log").open("w")
    with pytest.MonkeyPatch.context() as patch, subprocess.Popen(command, stdout=log, stderr=log) as server:
        for name, value in settings.items():
            patch.setenv(name, value)
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    fs.FileSystem.from_uri("s3://runs?allow_bucket_creation=true")[0].create_dir("runs")
                    break
                except OSError:
                    assert time.monotonic() < end
                    time.sleep(0.2)
            yield "s3://runs"
        finally:
            server.terminate()


def test_one_driver_holds_a_sweep_in_a_bucket(bucket):
    store = Storage(f"{bucket}/sweeps/leased")
    told = pytest.raises(RunError, match="sweep 'leased' is being run by process")
    with held(store, "leased", beat_seconds=1.0), told, held(store, "leased"):
        pass
    with held(store, "leased"):
        pass


def test_a_data_set_in_a_bucket_reads_as_one_in_a_folder(bucket, tmp_path):
    asked = {"validation_fraction": 0.2, "test_fraction": 0.2, "rows_per_group": 64}
    there, here = f"{bucket}/digits", tmp_path / "digits"
    assert build("digits", there, **asked).fingerprint == build("digits", here, **asked).fingerprint
    assert build("digits", there, **asked) == build("digits", there, **asked)  # the second time it is found
    with pytest.raises(InputError, match="built with validation_fraction"):
        build("digits", there, **{**asked, "validation_fraction": 0.1})
    streams = [ImageData(root, input_size=(1, 8, 8), seed=1).batches("train", 32, start=7) for root in (there, here)]
    for _ in range(3):
        (images, labels), (same_images, same_labels) = map(next, streams)
        assert images.equal(same_images)
        assert labels.equal(same_labels)


def test_shards_without_their_manifest_are_no_data_set(bucket):
    store = Storage(f"{bucket}/cut")
    store.write("train-00000.parquet", b"what a killed upload left")
    build("digits", store.uri, validation_fraction=0.2, test_fraction=0.2)
    assert len(list(ImageData(store.uri, input_size=(1, 8, 8), seed=0).once("test", 400))) == 1


def test_options_of_the_store_stay_at_the_end_of_the_uri(bucket):
    endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    folder = Storage(f"{bucket}/options?scheme=http&endpoint_override={endpoint.replace(':', '%3A')}")
    folder.child("a", "b").write("c", b"d")
    assert Storage(f"{bucket}/options").read("a/b/c") == b"d"
    assert folder.names() == ["a"]


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_killed_sweep_goes_on_from_the_bucket(bucket, tmp_path):
    definition = yaml.safe_load((ROOT / "benchmarks" / "small_sweep.yaml").read_text())
    for stage, num_steps in {"warmup": 60, "search": 150, "train": 60}.items():
        definition[stage]["num_steps"] = num_steps
    definition |= {"workers": 2, "mlflow": {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}}
    definition["sweep"] = {"points": 2}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(definition))
    command = [sys.executable, "-m", "orchestrator.cli.main", "sweep", "small.yaml", "--storage", f"{bucket}/sweeps"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    store = Storage(f"{bucket}/sweeps/small")
    registry = "checkpoint_manager_snapshot.json"

    def begun() -> bool:
        """Whether the first point has a checkpoint that is registered; one that is only being written may be lost."""
        if not store.exists(POINTS_FILE):
            return False
        runs = store.child("train", points()[0])
        return runs.exists(registry) and b"search-" in runs.read(registry)

    def points() -> list[str]:
        return [trial["key"] for trial in parse_json(store.read(POINTS_FILE), POINTS_FILE)["value"]["trials"]]

    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log) as driver,
    ):
        end = time.monotonic() + 300
        while not begun():
            assert driver.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.2)
        driver.kill()
    (cheapest,) = points()  # stored before it started

    def onepath(*arguments: str) -> subprocess.CompletedProcess[str]:
        whole = [*command[:3], *arguments]
        return subprocess.run(whole, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)

    continued = onepath(*command[3:])
    assert continued.returncode == 0, continued.stdout + continued.stderr
    assert "supernet: warm" not in continued.stdout  # it was finished before the kill; the ledger still has it
    assert store.exists("front.png")
    assert store.exists("report.html")
    assert points()[0] == cheapest
    assert len(points()) == 2
    first, second = starts_of(store, cheapest)
    assert (first.phase, first.step) == ("search", 0)
    assert (second.phase, second.step) > ("search", 0)
    again = onepath(*command[3:])
    assert "is finished" in again.stdout
    rows = json.loads(onepath("front", "small", "--storage", f"{bucket}/sweeps", "--json").stdout)
    cheap, dear = sorted(rows, key=lambda row: row["cost"])
    assert cheap["trial"] == cheapest
    assert cheap["budget"] < 2 * cheap["cost"] < dear["cost"] <= dear["budget"]
    assert dear["top1"] > 0.5
    assert all(row["model_uri"].startswith("models:/") for row in rows)
