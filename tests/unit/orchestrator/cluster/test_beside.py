"""Networks of a table are measured beside another on the table's own machine, and on no other."""

import pytest

from latency.tables.fingerprint import fingerprint
from orchestrator.cluster.beside import Beside, references_here
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import Job
from supernet.errors import RunError
from supernet.presets import read_preset


@pytest.fixture
def job(tmp_path):
    definition, place = read_preset("runs", "quickstart")
    return Job(resolved(check_run({**definition, "storage": str(tmp_path)}, place)), "")


def test_a_node_of_another_kind_does_not_measure_for_a_table(job):
    """Its figures would be taken for this machine's on a slow day."""
    target, space = job.target("ort-cpu-1t"), job.space
    facts = fingerprint(space, target)
    known = {space.architecture((0,) * len(space.positions)).id: 0.1}
    here = references_here(Beside(space.to_dict(), known, facts, "tables/t.parquet"), target)
    assert here is not None
    assert (here.space, here.known_ms) == (space, known)
    assert references_here(Beside(space.to_dict(), {}, facts, "tables/t.parquet"), target) is None
    for beside in (known, {}):
        other = Beside(space.to_dict(), beside, {**facts, "versions": {"onnxruntime": "0.1"}}, "tables/t.parquet")
        with pytest.raises(
            RunError, match=r"is not what its table was measured on \(versions: .*announce each under its"
        ):
            references_here(other, target)
