"""The main job on a small scale: killed halfway, continued, shown, pulled; with real Ray and MLflow.

Its devices are programs that answer milliseconds, so that no busy machine decides; `make slow` measures real runtimes.
"""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from orchestrator.data.format import read_manifest
from orchestrator.data.shards import read_group
from orchestrator.data.storage import Storage
from orchestrator.plan.trials import RESULT_FILE, WARMUP_FILE
from orchestrator.registry.image_classifier import ImageClassifier
from supernet.presets import read_preset

ONEPATH = str(Path(sys.executable).parent / "onepath")
KEYS = {
    "target", "budget", "predicted_cost", "cost", "unit", "top1", "top1_interval", "num_test_images", "num_params",
    "num_macs", "architecture", "model_uri", "on_front",
}  # fmt: skip


def device(name: str, ms: float) -> dict:
    """Return a target whose program takes so many milliseconds for each 1,000 bytes of a model file."""
    program = f"import os, sys; print({ms} * os.path.getsize(sys.argv[1]) / 1000)"
    options = {"command": [sys.executable, "-c", program, "{model}"], "runs": 1}
    return {"name": name, "runtime": "command", "options": options}


def small_run(folder: Path) -> Path:
    definition, _ = read_preset("runs", "quickstart")
    run = {
        **definition,
        "name": "small",
        "targets": [device("board", 1.0), device("phone", 0.5)],
        "sweep": {"budget_fractions": [0.4]},
        "workers": 1,
        "max_concurrent": 1,
        "warmup": {**definition["warmup"], "num_steps": 40},
        "search": {**definition["search"], "num_steps": 30},
        "train": {**definition["train"], "num_steps": 60},
        "derive": {"strategy": "judged", "num_candidates": 3, "recalibration_batches": 2},
        "checkpoint": {"every_steps": 20},
        "measure": {"table_seconds": 2, "network_seconds": 0.5},
        "gate": {"prediction_error": 10.0, "over_budget": 10.0},  # a file is not the sum of its blocks' files
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(run))
    return path


def onepath(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ONEPATH, *arguments], cwd=folder, capture_output=True, text=True, timeout=600)


def kill_when(process: subprocess.Popen[bytes], ready, seconds: float) -> None:
    """SIGKILL a driver as soon as `ready()` is true."""
    end = time.monotonic() + seconds
    try:
        while not ready():
            assert process.poll() is None, "the sweep ended before it could be killed"
            assert time.monotonic() < end, "the sweep did not get far enough to be killed"
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait(timeout=30)


def raw_images(storage: Path, split: str) -> tuple[list[bytes], list[str]]:
    """Return the encoded images of a split of the storage's one data set, and the names of their classes."""
    (data,) = (storage / "data").iterdir()
    manifest = read_manifest(Storage(str(data)))
    groups = [read_group(Storage(str(data)), shard, group, manifest.num_classes)
              for shard in manifest.shards if shard.split == split for group in range(len(shard.rows))]  # fmt: skip
    encoded = [group.image(row) for group in groups for row in range(len(group.encoded))]
    return encoded, [manifest.class_names[label] for group in groups for label in group.labels]


def reproduce(folder: Path, storage: Path) -> None:
    """Run the pulled files on the raw test images: the top-1 of the numbers beside them, exactly."""
    encoded, labels = raw_images(storage, "test")
    numbers = json.loads((folder / "model.json").read_text())
    for runtime, wanted in (("", numbers["top1"]), ("torch", numbers["torch_top1"])):
        found = [answer["label"] for answer in ImageClassifier(folder, runtime).predict(encoded)]
        assert sum(a == b for a, b in zip(found, labels, strict=True)) / len(labels) == wanted
    assert hashlib.sha256((folder / numbers["file"]).read_bytes()).hexdigest() == numbers["file_sha256"]


def go_on_with_three_classes(folder: Path, run: Path) -> None:
    """Sweep images of three classes on the supernet of the sweep before: all its weights but the classifier's."""
    storage = folder / "onepath-runs"
    encoded, labels = raw_images(storage, "test")
    for number, (content, label) in enumerate(zip(encoded, labels, strict=True)):
        if label in ("0", "1", "2"):
            (folder / "three" / label).mkdir(parents=True, exist_ok=True)
            (folder / "three" / label / f"{number}.png").write_bytes(content)
    before = yaml.safe_load(run.read_text())
    after = {
        **before,
        "search": {**before["search"], "num_steps": 4},
        "train": {**before["train"], "num_steps": 4, "warmup_steps": 0},
        "name": "three",
        "data": {**before["data"], "source": str(folder / "three")},
        "targets": ["macs"],
        "sweep": {"budget_fractions": [0.4]},
        "warmup": {**before["warmup"], "from": "small", "num_steps": 2, "learning_rate": 1e-9, "weight_decay": 0.0},
    }
    (folder / "three.yaml").write_text(yaml.safe_dump(after))
    done = onepath(folder, "sweep", "three.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    old, new = ({name: p for name, p in torch.load(storage / sweep / WARMUP_FILE).items() if p.ndim > 1}
                for sweep in ("small", "three"))  # fmt: skip
    other = {name: (len(old[name]), len(new[name])) for name in old if old[name].shape != new[name].shape}
    assert list(other.values()) == [(10, 3)], "the classifier"
    for name in old.keys() - other.keys():
        torch.testing.assert_close(old[name], new[name], rtol=0, atol=1e-6)
    (row,) = json.loads(onepath(folder, "front", "three", "--json").stdout)
    assert (row["model_uri"], row["top5"]) == ("models:/three-macs/1", None)


@pytest.mark.ray
@pytest.mark.timeout(1500)
def test_a_killed_sweep_goes_on_and_registers_nothing_twice(tmp_path):
    run = small_run(tmp_path)
    trials = tmp_path / "onepath-runs" / "small" / "trials"
    with (tmp_path / "first.log").open("wb") as log:
        first = subprocess.Popen([ONEPATH, "sweep", str(run)], cwd=tmp_path, stdout=log, stderr=log)
        kill_when(first, lambda: list(trials.glob(f"*/{RESULT_FILE}")), seconds=540)
    (finished,) = trials.glob(f"*/{RESULT_FILE}")
    before = finished.read_bytes()

    second = onepath(tmp_path, "sweep", str(run))
    assert second.returncode == 0, second.stdout + second.stderr
    assert finished.read_bytes() == before, "a finished trial was run again"
    assert "Traceback" not in second.stdout + second.stderr

    third = onepath(tmp_path, "sweep", str(run))
    assert third.returncode == 0
    assert "'small' is finished" in third.stdout

    rows = json.loads(onepath(tmp_path, "front", "small", "--json").stdout)
    assert len(rows) == 2
    assert all(rows_keys >= KEYS for rows_keys in map(set, rows))
    assert {row["model_uri"] for row in rows} == {"models:/small-board/1", "models:/small-phone/1"}
    assert all(set(row["latency_ms_on"]) == {"board", "phone"} for row in rows)
    (mine,) = (row for row in rows if row["target"] == "board")

    pulled = onepath(tmp_path, "pull", "small", "--target", "board", "--max-ms", str(mine["cost"]), "--json")
    assert json.loads(pulled.stdout)["architecture"] == mine["architecture"]
    folder = tmp_path / "small-board"
    assert {"model.pt2", "model.onnx", "architecture.json", "weights.safetensors"} <= {p.name for p in folder.iterdir()}
    reproduce(folder, tmp_path / "onepath-runs")
    shown = onepath(tmp_path, "arch", "show", str(folder / "architecture.json"), "--json")
    assert json.loads(shown.stdout)["num_params"] == mine["num_params"]

    go_on_with_three_classes(tmp_path, run)

    left = tmp_path / "onepath-runs" / "small"
    assert (left / "front.png").stat().st_size > 10_000
    assert (left / "report.html").stat().st_size > 10_000
    ledger = json.loads((left / "ledger.json").read_text())
    assert ledger["num_runs"] <= 2, "the third had nothing to do"
    assert {"sweep", "cross table"} <= {spent["key"] for spent in ledger["spent"]}
    phases = {spent["phase"] for spent in ledger["spent"]}
    assert "measure" in phases, "search and training may be over between two looks"
    assert "workers" not in phases, "the one rank is the trial's process"
    assert ledger["device_hours"] > 0
    assert "the work's time is overhead" in second.stdout

    changed = yaml.safe_load(run.read_text()) | {"seed": 7}
    run.write_text(yaml.safe_dump(changed))
    refused = onepath(tmp_path, "sweep", str(run))
    assert refused.returncode == 2
    assert "  seed: " in refused.stderr
