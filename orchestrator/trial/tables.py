"""The cost tables of a sweep's targets, asked for beside each other: a target whose device is away holds up no other.

Why here: a trial begins on a table that was measured, or confirmed, on a device that is there. How it is measured
stands in `cluster.devices`, which trial is next in `turns`; it must not know trials.
"""

from collections.abc import Callable, Iterable, Sequence

from rich.markup import escape

from orchestrator.cluster.devices import LOOK_SECONDS, Asked, ask_costs
from orchestrator.cluster.session import announced
from orchestrator.plan.trials import Job
from orchestrator.report.live import LiveView
from supernet.cost import CostTable
from supernet.errors import InputError, RunError


class Tables:
    """What targets cost, where their devices are there.

    Args:
        job: The sweep.
        view: Told of tables, and of targets that have none.
        ask: Asks for a target's costs.
        present: Returns those of some measured targets that are there.

    Attributes:
        reasons: Why a target has no table, for those that were asked for in vain.
    """

    def __init__(
        self,
        job: Job,
        view: LiveView,
        ask: Callable[[Job, str], Asked] = ask_costs,
        present: Callable[[Sequence[str]], Sequence[str]] = announced,
    ) -> None:
        self.reasons: dict[str, str] = {}
        self._job, self._view, self._ask, self._present = job, view, ask, present
        self._known: dict[str, CostTable] = {}
        self._asked: dict[str, Asked] = {}
        self._tried_again: set[str] = set()

    @property
    def awaited(self) -> bool:
        """Whether a table is being measured, or waits for its device."""
        return bool(self._asked)

    def at_hand(self, names: Iterable[str]) -> list[str]:
        """Return those targets whose devices are there; targets that count need none."""
        names = list(names)
        there = set(self._present([name for name in names if self._job.target(name).measured]))
        return [name for name in names if name in there or not self._job.target(name).measured]

    def ask(self, names: Iterable[str]) -> None:
        """Ask for the tables of targets that have none, and are not asked yet."""
        for name in names:
            if name not in self._known and name not in self._asked:
                self.reasons.pop(name, None)
                self._view.expect(name)
                self._asked[name] = self._ask(self._job, name)

    def ask_again(self) -> bool:
        """Ask once more for the tables of targets at hand that have none: the machine may be quieter now, or back.

        Returns:
            Whether there were any.
        """
        names = [name for name in self.at_hand(self.reasons) if name not in self._tried_again]
        self._tried_again.update(names)
        self.ask(names)
        return bool(names)

    def wait(self) -> None:
        """Wait for all that were asked for."""
        for name in list(self._asked):
            while name in self._asked:
                self._look(name, LOOK_SECONDS, patient=False)

    def ready(self, *, patient: bool) -> dict[str, CostTable]:
        """Return the costs of the targets whose trials can begin; the table of one that went away is to be confirmed.

        Args:
            patient: Whether devices may be away now, for as long as they like.
        """
        away = self._known.keys() - set(self.at_hand(self._known))
        for name in away:
            del self._known[name]
        self.ask(away)
        for name in list(self._asked):
            self._look(name, 0.0, patient=patient)
        return {name: self._known[name] for name in self._job.targets if name in self._known}

    def _look(self, name: str, seconds: float, *, patient: bool) -> None:
        """Take a table that is there, or the reason why it will not be."""
        try:
            costs = self._asked[name](seconds, patient)
        except (InputError, RunError) as error:
            self.reasons[name] = str(error)
            self._view.say(f"[yellow]{name}: no latency table: {escape(str(error))}[/yellow]")
        else:
            if costs is None:
                return
            self._known[name] = costs
            if costs.unit == "ms":
                ends = f"networks from {costs.minimum:.3g} to {costs.maximum:.3g} ms"
                self._view.say(f"{name}: latency table, {ends}, predicted to {costs.error:.1%}")
        del self._asked[name]
        self._view.forget(name)
