"""What was measured decides the pick, also after a restart."""

import re

import pytest
import torch

from latency.measuring.measure import Measurement
from orchestrator.data.storage import Storage
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import MEASURED_FILE, Job, plan_trials
from orchestrator.trial import search_job
from orchestrator.trial.deriving import Figure, remembered, within_reach
from orchestrator.trial.records import read_record
from supernet.cost import CostTable, params_table
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
        return Figure(float(len(asked)))

    assert remembered(measure, store, 3.0)(first) == 1.0
    assert [remembered(measure, store, 3.0)(architecture) for architecture in (first, second)] == [1.0, 2.0]
    assert asked == [first.id, second.id]
    assert read_record(store, MEASURED_FILE, dict[str, float]) == {first.id: 1.0, second.id: 2.0}
    store.write(MEASURED_FILE, store.read(MEASURED_FILE).replace(b"2.0", b"3.0"))
    with pytest.raises(RunError, match=r"measured\.json: damaged .*remove it .*made again they differ a little"):
        remembered(measure, store, 3.0)(first)


def test_a_figure_over_the_limit_is_asked_for_once_more_and_the_lower_one_counts(job, tmp_path):
    space, figures = job.space, {"first": [3.0, 1.5], "second": [1.0], "third": [4.0, 5.0]}
    names = {space.architecture(tuple(i for _ in space.positions)).id: name for i, name in enumerate(figures)}
    networks = [space.architecture(tuple(i for _ in space.positions)) for i in range(3)]
    ask = lambda network: Figure(figures[names[network.id]].pop(0))  # noqa: E731
    measure = remembered(ask, Storage(str(tmp_path)), 2.0, alone=True)
    for _ in range(2):
        assert [measure(network) for network in networks] == [1.5, 1.0, 4.0]
    assert figures == {"first": [], "second": [], "third": []}


def test_a_disturbed_figure_is_not_kept_and_puts_no_network_over_its_budget(job, tmp_path):
    """Did before: the cheapest network that was measured was trained for hours, and a restart chose it again."""
    network, store = job.space.architecture((0,) * len(job.space.positions)), Storage(str(tmp_path / "trial"))
    within, over = Figure(1.9, "load 3; the same command measures it again"), Figure(2.1, "load 3; again")
    assert remembered(lambda _: within, store, 2.0)(network) == 1.9
    for alone in (False, True):
        with pytest.raises(RunError, match=r"^a network seems over its budget, but load 3; again$"):
            remembered(lambda _: over, store, 2.0, alone=alone)(network)
    assert not store.exists(MEASURED_FILE)
    assert remembered(lambda _: Figure(2.1), store, 2.0)(network) == 2.1, "one that is believed is kept"
    assert remembered(lambda _: within, store, 2.0)(network) == 2.1


@pytest.mark.parametrize(
    ("error", "noise", "machine", "most", "said"),
    [
        (0.1, "", 1.0, 2.2, "^$"),
        (0.1, "", 0.5, 4.4, "^$"),
        (0.1, "load 3", 1.0, 2.2, "^load 3; the same command measures it again$"),
        (None, "1 phases", 1.0, float("inf"), "^1 phases; the same command measures it again$"),
        (
            0.1,
            "",
            1.25,
            1.76,
            r"25% slower than .*; the same command .*If the machine stays so, remove .*/tables/.*\.parq",
        ),
    ],
)
def test_a_measurement_says_what_a_network_takes_at_most_and_whether_it_was_disturbed(
    job, monkeypatch, error, noise, machine, most, said
):
    """A network whose error was not known had none: it was trained without the two standard errors to spare."""
    measured = Measurement(2.0, error, 2.1, 100, None, noise, machine)
    monkeypatch.setattr(search_job, "measure_on_target", lambda *asked: measured)
    trial = next(trial for trial in plan_trials(job.run) if trial.target == "ort-cpu-1t")
    costs, network = params_table(job.space), job.space.architecture((0,) * len(job.space.positions))
    found = search_job._measured(job, trial, costs, network)
    assert found.most == pytest.approx(most)
    assert re.search(said, found.disturbed)
    assert search_job._measured(job, plan_trials(job.run)[0], costs, network) == Figure(
        costs.total((0,) * len(job.space.positions))
    ), "a count is exact"


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
