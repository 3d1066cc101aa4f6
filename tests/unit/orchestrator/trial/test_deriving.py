"""What was measured decides the pick, also after a restart."""

import pytest

from orchestrator.data.storage import Storage
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import MEASURED_FILE, Job
from orchestrator.trial.deriving import remembered
from orchestrator.trial.records import read_record
from supernet.errors import RunError
from supernet.presets import read_preset


@pytest.fixture
def job(tmp_path):
    definition, place = read_preset("runs", "quickstart")
    run = {**definition, "targets": ["params", "macs", "ort-cpu-1t"], "storage": str(tmp_path)}
    return Job(resolved(check_run(run, place)), "")


def test_measured_figures_are_remembered_over_a_restart(job, tmp_path):
    space = job.space
    first, second = (space.architecture(tuple(i for _ in space.positions)) for i in (0, 1))
    store, asked = Storage(str(tmp_path / "trial")), []

    def measure(architectures):
        asked.extend(a.id for a in architectures)
        return [float(len(asked)) for _ in architectures]

    assert remembered(measure, store)([first]) == [1.0]
    assert remembered(measure, store)([first, second]) == [1.0, 2.0]
    assert remembered(measure, store)([second, first]) == [2.0, 1.0]
    assert asked == [first.id, second.id]
    assert read_record(store, MEASURED_FILE, dict[str, float]) == {first.id: 1.0, second.id: 2.0}
    store.write(MEASURED_FILE, store.read(MEASURED_FILE).replace(b"2.0", b"3.0"))
    with pytest.raises(RunError, match=r"measured\.json: damaged .*remove it .*made again they differ a little"):
        remembered(measure, store)([first])
