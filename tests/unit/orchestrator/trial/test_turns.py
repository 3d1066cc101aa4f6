"""Who waits for what before a trial begins, without Ray: devices beside each other, and turns one at a time."""

import io

import pytest
from rich.console import Console

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import Job
from orchestrator.report.live import LiveView
from orchestrator.trial.placing import trials_left
from orchestrator.trial.tables import Tables
from orchestrator.trial.turns import Turns
from supernet.cost import params_table
from supernet.errors import RunError
from supernet.presets import read_preset

NOW, LATE = "ort-cpu-1t", "torch-cpu-1t"
PATIENCE = 10
"""Looks without its device, and without other work, after which a target is given up."""


class Night:
    """Devices that come and go, by hand, and a clock that goes on with every look."""

    def __init__(self, folder, at_once=1, num_budgets=3):
        definition, _ = read_preset("runs", "quickstart")
        fractions = [0.3 + 0.1 * i for i in range(num_budgets)]
        definition |= {"targets": [NOW, LATE], "storage": str(folder), "sweep": {"budget_fractions": fractions}}
        self.job = Job(resolved(check_run(definition, "mine")), "")
        self.there, self.asked, self.noisy, self.time = {NOW}, [], set(), 0.0
        self.running, self.given, self.over = [], [], False
        view = LiveView(Console(file=io.StringIO()), dict, total=6)
        self.tables = Tables(self.job, view, self.ask, lambda names: [name for name in names if name in self.there])
        self.turns = Turns(trials_left(self.job, print), self.tables, lambda: at_once, lambda: self.time)

    def ask(self, job, name):
        self.asked.append(name)
        absent = 0

        def costs(seconds, patient):
            nonlocal absent
            if name in self.there:
                if name in self.noisy:
                    raise RunError("too noisy")
                return params_table(job.space)
            absent = 0 if patient else absent + 1
            if absent > PATIENCE:
                raise RunError("no node")
            return None

        return costs

    def look(self, times=1):
        for _ in range(times):
            self.time += 10.0
            try:
                turn = next(self.turns)
            except StopIteration:
                self.over = True
                return
            if turn:
                self.running.append(turn[0])
                self.given.append(turn[0].target)

    def end(self):
        self.turns.ended(self.running.pop(0).key)


@pytest.fixture
def night(tmp_path):
    return Night(tmp_path)


@pytest.mark.parametrize("at_once", [1, 2])
def test_trials_of_a_device_that_came_late_take_turns(tmp_path, at_once):
    """Seen: all of them at once, each with a training job, and room for one."""
    night = Night(tmp_path, at_once)
    night.tables.ask([NOW, LATE])
    most = 0
    for step in range(30):
        night.look(2)
        most = max(most, len(night.running))
        if step == 1:
            night.there.add(LATE)
        if night.running:
            night.end()
    assert (most, night.over) == (at_once, True)
    assert sorted(night.given) == sorted([NOW, LATE] * 3)
    assert night.asked == [NOW, LATE], "one table for all trials of a target"


def test_a_device_that_is_away_is_given_up_only_when_all_else_is_done(night):
    night.tables.ask([NOW, LATE])
    for _ in range(3):
        night.look(3 * PATIENCE)
        assert not night.tables.reasons
        night.end()
    night.look(PATIENCE)
    assert not night.over, "it is waited for now"
    night.look(2)
    assert night.over
    assert night.tables.reasons == {LATE: "no node"}
    assert night.given == [NOW] * 3


def test_absent_devices_are_waited_for_beside_each_other(night):
    """Took before, with points: `measure.wait_minutes` for each, one after the other."""
    night.there.clear()
    night.tables.ask([NOW, LATE])
    night.look()
    night.there.add(LATE)
    night.look()
    assert night.given == [LATE], "the first one is still away"


def test_no_trial_begins_while_its_device_is_away_again(night):
    night.tables.ask([NOW])
    night.look()
    night.end()
    night.there.clear()
    night.look(3)
    assert night.given == [NOW]
    night.there.add(NOW)
    night.look()
    assert night.given == [NOW, NOW]
    assert night.asked == [NOW, NOW], "the table is confirmed on what came back"


def test_a_table_that_could_not_be_measured_is_tried_once_more_after_the_others(night):
    night.there.add(LATE)
    night.noisy.add(LATE)
    night.tables.ask([NOW, LATE])
    night.tables.wait()
    assert night.tables.reasons == {LATE: "too noisy"}
    for _ in range(3):
        night.look()
        night.end()
    night.noisy.clear()
    for _ in range(3):
        night.look(2)
        night.end()
    night.look()
    assert night.given == [NOW] * 3 + [LATE] * 3
    assert (night.over, night.tables.reasons) == (True, {})
