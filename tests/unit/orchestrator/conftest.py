"""What tests of the orchestrator share."""

import pytest

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import CONFIG_FILE, Job
from supernet.presets import read_preset


@pytest.fixture
def kept(tmp_path):
    """Return a sweep whose configuration is stored, below `here`."""
    definition, _ = read_preset("runs", "quickstart")
    job = Job(resolved(check_run({**definition, "storage": str(tmp_path / "here")}, "quickstart")), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    return job
