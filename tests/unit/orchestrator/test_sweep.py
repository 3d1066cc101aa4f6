"""How a sweep comes to its images and its configuration, before anything is started."""

import io
import shutil

import numpy as np
import pytest
import yaml
from rich.console import Console

from benchmarks.layouts import Pictures, write_folder
from orchestrator.plan.check import load_run
from orchestrator.plan.trials import CONFIG_FILE
from orchestrator.sweep import prepare
from supernet.errors import InputError
from supernet.presets import read_preset


def pictures() -> Pictures:
    random = np.random.default_rng(0)
    splits = {
        split: [(random.integers(0, 256, (28, 28), np.uint8), i % 2) for i in range(count)]
        for split, count in {"train": 40, "test": 10}.items()
    }
    return Pictures(["cat", "dog"], splits)


def test_a_sweep_that_has_begun_does_not_need_its_raw_images(tmp_path, monkeypatch):
    """Said before: no folder 'raw', with all that was made of it in place."""
    monkeypatch.chdir(tmp_path)
    write_folder(pictures(), tmp_path / "raw")
    definition, _ = read_preset("runs", "quickstart")
    definition |= {"targets": ["macs"], "storage": str(tmp_path / "runs"), "sweep": {"budget_fractions": [0.5]}}
    definition["data"] = {**definition["data"], "source": "raw"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(definition))
    said = io.StringIO()
    job = prepare(load_run("mine.yaml"), Console(file=said))
    assert job.space.num_classes == 2
    assert "converting raw" in said.getvalue()
    assert not job.store.exists(CONFIG_FILE), "whoever holds the sweep writes it"
    shutil.move("raw", "elsewhere")
    with pytest.raises(InputError, match=r"data\.source: no folder 'raw'"):
        load_run("mine.yaml")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    again = prepare(load_run("mine.yaml"), Console(file=said))
    assert (again.data_root, again.config) == (job.data_root, job.config)
    assert "raw is gone" in said.getvalue()
