"""Sweeps by name: read from where they are kept, also after their folder was moved."""

import shutil

import pytest

from orchestrator.cli.options import stored_job
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import CONFIG_FILE, Job
from supernet.errors import InputError
from supernet.presets import read_preset


@pytest.fixture
def kept(tmp_path):
    definition, _ = read_preset("runs", "quickstart")
    job = Job(resolved(check_run({**definition, "storage": str(tmp_path / "here")}, "quickstart")), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    return job


def test_a_sweep_is_where_it_is_found_and_not_where_it_was(kept, tmp_path):
    assert stored_job("quickstart", kept.root.uri).config == kept.config
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert stored_job("quickstart", str(tmp_path / "there")).store.uri == str(tmp_path / "there" / "quickstart")


def test_an_unknown_sweep_names_the_nearest(kept):
    with pytest.raises(InputError, match=r"no sweep 'quikstart' in .*here; did you mean 'quickstart'.*--storage"):
        stored_job("quikstart", kept.root.uri)
