"""What was measured decides the pick, also after a restart."""

import pytest
import torch

from orchestrator.data.storage import Storage
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import MEASURED_FILE, Job
from orchestrator.trial.deriving import remembered, within_reach
from orchestrator.trial.records import read_record
from supernet.cost import CostTable
from supernet.derive import Derivation, pick
from supernet.errors import InputError, RunError
from supernet.pool import Judged
from supernet.presets import read_preset
from supernet.rng import generator


@pytest.fixture
def job(tmp_path):
    definition, place = read_preset("runs", "quickstart")
    run = {**definition, "targets": ["params", "macs", "ort-cpu-1t"], "storage": str(tmp_path)}
    return Job(resolved(check_run(run, place)), "")


def test_measured_figures_are_remembered_over_a_restart(job, tmp_path):
    space = job.space
    first, second = (space.architecture(tuple(i for _ in space.positions)) for i in (0, 1))
    store, asked = Storage(str(tmp_path / "trial")), []

    def measure(architecture):
        asked.append(architecture.id)
        return float(len(asked))

    assert remembered(measure, store)(first) == 1.0
    assert [remembered(measure, store)(architecture) for architecture in (first, second)] == [1.0, 2.0]
    assert asked == [first.id, second.id]
    assert read_record(store, MEASURED_FILE, dict[str, float]) == {first.id: 1.0, second.id: 2.0}
    store.write(MEASURED_FILE, store.read(MEASURED_FILE).replace(b"2.0", b"3.0"))
    with pytest.raises(RunError, match=r"measured\.json: damaged .*remove it .*made again they differ a little"):
        remembered(measure, store)(first)


def test_a_figure_over_the_limit_is_asked_for_once_more_and_the_lower_one_counts(job, tmp_path):
    space, figures = job.space, {"first": [3.0, 1.5], "second": [1.0], "third": [4.0, 5.0]}
    names = {space.architecture(tuple(i for _ in space.positions)).id: name for i, name in enumerate(figures)}
    networks = [space.architecture(tuple(i for _ in space.positions)) for i in range(3)]
    measure = remembered(lambda network: figures[names[network.id]].pop(0), Storage(str(tmp_path)), 2.0)
    for _ in range(2):
        assert [measure(network) for network in networks] == [1.5, 1.0, 4.0]
    assert figures == {"first": [], "second": [], "third": []}


def test_where_a_corrected_table_leaves_nothing_within_the_budget_the_cheapest_network_is_tried():
    """The search has dropped the cheaper candidate of the first position."""
    costs, probs = CostTable("t", "ms", 0.0, ((1.0, 2.0), (1.0, 3.0))), torch.tensor([[0.0, 1.0], [0.5, 0.5]])

    def question(budget):
        judge = lambda paths: [Judged(path, 0.5, float(sum(path))) for path in paths]  # noqa: E731
        return Derivation(probs.double(), costs, budget, judge, lambda attempt: generator(0, "t", attempt))

    assert [within_reach(question(budget)) for budget in (None, 2.5, 3.0, 4.0)] == [None, 3.0, 3.0, 4.0]
    with pytest.raises(InputError, match="the cheapest remaining path takes 3 ms"):
        pick(question(2.5))
    assert pick(question(within_reach(question(2.5)))).path == (1, 0)
