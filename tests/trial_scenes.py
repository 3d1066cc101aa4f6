"""A trial for tests: its networks come from no search, its device is made up, and its process may die at any step."""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors.torch import save

from latency.measuring.answers import answers
from latency.measuring.measure import Measurement
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import OUTCOME_FILE, WEIGHTS_FILE, Job, plan_trials
from orchestrator.trial.corrections import corrected, corrections_of
from orchestrator.trial.deliver import Bench
from orchestrator.trial.files import is_trained
from orchestrator.trial.records import Outcome, checksum, read_record, write_record
from orchestrator.trial.trial import finish
from supernet.cost import CostTable, params_table
from supernet.network import build_network
from supernet.proposals import best_within
from supernet.space import Architecture


class Cut(Exception):
    """Stands for a process that dies."""


@dataclass
class Scene:
    """A trial whose networks come from no search and whose device is made up.

    Attributes:
        job: A sweep of one trial on ONNX Runtime.
        slow: What the device takes over what the table says, measurement by measurement; the last one stays.
        least: What it takes at least, as a share of the budget.
        dies: Whether the process dies at every step, once.
        hiccup: What the first measurement takes over that.
        machine: What networks of the table take over what it says of them.
        table: What the table says over what it said first.
        noise: Why the device is too disturbed for its figures to be believed.
        steps: What was done so far.
    """

    job: Job
    slow: list[float]
    least: float = 0.0
    dies: bool = False
    hiccup: float = 1.0
    machine: float = 1.0
    table: float = 1.0
    noise: str = ""
    steps: list[str] = field(default_factory=list)

    @property
    def trial(self):
        (trial,) = plan_trials(self.job.run)
        return trial

    @property
    def costs(self) -> CostTable:
        """Parameters as if they were nanoseconds, so that every network costs something else."""
        return replace(params_table(self.job.space), name=self.trial.target, unit="ms").scaled(self.table * 1e-6)

    @property
    def store(self):
        return self.job.trial_store(self.trial)

    def note(self, step: str) -> None:
        """Take note of a step; die the first time."""
        known = step in self.steps
        self.steps.append(step)
        if self.dies and not known:
            raise Cut

    def train(self) -> None:
        """Take the costliest network within the limit, with random weights."""
        assert not is_trained(self.store), "the network of fewer corrections does not count"
        known = corrections_of(self.store)
        self.note(f"train {len(known)}")
        costs, space = self.costs, self.job.space
        table = corrected(costs, space, known)
        path = best_within(table.matrix, table, self.trial.reference(costs))
        architecture = space.architecture(path)
        state = build_network(space, architecture, seed=1).state_dict()
        weights = save({name: value.contiguous() for name, value in state.items()})
        self.store.write(WEIGHTS_FILE, weights)
        self.note(f"weights {len(known)}")
        outcome = Outcome(architecture.id, 0.0, 90, 90, checksum(weights), len(known))
        write_record(self.store, OUTCOME_FILE, outcome)
        self.note(f"outcome {len(known)}")

    def measure(self, name: str, content: bytes, near_ms: float) -> Measurement:
        assert is_trained(self.store)
        number = len(corrections_of(self.store))
        self.note(f"measure {number}")
        outcome = read_record(self.store, OUTCOME_FILE, Outcome)
        truth = self.costs.total(self.job.space.path(Architecture.parse(outcome.architecture)))
        ms = max(self.slow[min(number, len(self.slow) - 1)] * truth, self.least * self.trial.reference(self.costs))
        ms *= self.hiccup if self.steps.count("measure 0") == 1 + self.dies else 1.0
        return Measurement(ms, 1e-3 * ms, ms, 100, None, self.noise, self.machine)

    def ask(self, name: str, content: bytes, images: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(content)
            return answers(file, self.job.target(self.trial.target), images)

    def finish(self) -> TrialResult:
        """Run the trial as often as it dies."""
        bench = Bench(self.measure, self.ask)
        for _ in range(40):
            try:
                return finish(self.job, self.trial, self.costs, self.train, bench, lambda news: self.note(news.phase))
            except Cut:
                continue
        raise AssertionError
