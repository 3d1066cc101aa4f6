"""A job's stages in one process: interrupted anywhere they end with the same bytes; starts and figures are kept."""

import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from repository import ROOT

from latency.tables.estimate import cost_table
from orchestrator.cluster.checkpoints import snapshot
from orchestrator.data.augment import preset
from orchestrator.data.build import build
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.curves import CURVE_FILE, stored_curve
from orchestrator.plan.trials import (
    ARCHITECTURE_FILE,
    EVALUATION_FILE,
    MEASUREMENT_FILE,
    OUTCOME_FILE,
    SEARCH_FILE,
    WARMUP_FILE,
    WARMUP_KEY,
    WEIGHTS_FILE,
    Job,
    plan_trials,
)
from orchestrator.trial.corrections import Correction, corrected, corrections_of, keep_corrections
from orchestrator.trial.deliver import Bench
from orchestrator.trial.deriving import Figure
from orchestrator.trial.files import MADE
from orchestrator.trial.place import Place
from orchestrator.trial.records import Outcome, Start, is_intact, read_record, starts_of
from orchestrator.trial.stages import _trial_search, load_warm_supernet, open_data, run_trial_stages, run_warmup
from orchestrator.trial.trial import finish
from supernet.cost import macs_table
from supernet.errors import RunError
from supernet.network import Supernet
from supernet.peak import network_peak
from supernet.space import Architecture
from supernet.sync import Alone

CONFIG = ROOT / "benchmarks" / "small_sweep.yaml"
FILES = (ARCHITECTURE_FILE, SEARCH_FILE, CURVE_FILE, OUTCOME_FILE, WEIGHTS_FILE)
DELIVERED = (*FILES, *MADE, EVALUATION_FILE)


NO_DEVICE = Bench(
    lambda *asked: pytest.fail("a count is not measured"), lambda *asked: pytest.fail("the torch export answers")
)


class Cut(Exception):
    """Stands for a process that dies."""


class Memory:
    """Keeps states in memory, dies right after the n-th save, and spoils what must not matter in a loaded state."""

    def __init__(self, cut_after: int | None = None) -> None:
        self.state, self.names, self.cut_after = None, [], cut_after

    def load(self):
        return spoiled(self.state) if self.state else None

    def due(self, step: int) -> bool:
        return step % 4 == 0

    def save(self, state, name: str) -> None:
        self.state = snapshot(state())
        self.names.append(name)
        if len(self.names) == self.cut_after:
            raise Cut


class Kept(Memory):
    """Gives states back as they were saved."""

    def load(self):
        return snapshot(self.state) if self.state else None


def spoiled(state):
    """Return a state with other running statistics, as every rank but the first has them after a restart."""
    if isinstance(state, dict):
        return {
            key: torch.rand_like(value) + 0.5 if str(key).endswith(("running_mean", "running_var")) else spoiled(value)
            for key, value in state.items()
        }
    return state


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("stages")
    build("digits", made / "digits", validation_fraction=0.05, test_fraction=0.05, seed=0)
    return made


def job_of(folder: Path, name: str, **changes: object) -> Job:
    run = yaml.safe_load(CONFIG.read_text())
    for stretch in ("warmup", "search", "train"):
        run[stretch] = {**run[stretch], "num_steps": 10}
    run["train"] |= {"optimiser": "adamw", "learning_rate": 0.01, "mixup": 0.2, "cutmix": 1.0, "average": 0.9}
    run["data"] |= {"augment": "light", "final_augment": "flip-crop-modern"}
    run |= {"name": name, "storage": str(folder), "workers": 1, **changes}
    return Job(resolved(check_run(run, name)), str(folder / "digits"))


def place(saver: Memory) -> Place:
    return Place(sync=Alone(), device=torch.device("cpu"), saver=saver, post=lambda news: None)


def play(job: Job, cut_after: int | None) -> tuple[dict[str, bytes], list[str]]:
    """Run warm-up and trial, restarting after every cut; return the trial's files and the names of its saves."""
    (trial,) = plan_trials(job.run)
    costs, warm, saver = cost_table(job.space, job.target(trial.target), ""), Memory(cut_after), Memory(cut_after)

    def measure(architecture):
        return Figure(costs.total(job.space.path(architecture)))

    for stages, kept in (
        (lambda: run_warmup(job, place(warm)), warm),
        (lambda: run_trial_stages(job, trial, costs, place(saver), measure), saver),
    ):
        for _ in range(3):
            try:
                stages()
                break
            except Cut:
                kept.cut_after = None
    store = job.trial_store(trial)
    return {name: store.read(name) for name in FILES}, saver.names


@pytest.fixture(scope="module")
def undisturbed(folder):
    torch.set_num_threads(1)
    return play(job_of(folder, "undisturbed"), None)


def test_the_final_training_has_its_own_augmentation(folder):
    job = job_of(folder, "own-augmentation")
    assert open_data(job).preset == preset("light")
    assert open_data(job, final=True).preset == preset("flip-crop-modern")


@pytest.mark.parametrize("reference", [0.0, 80.0])
def test_a_weighted_search_goes_by_the_reference_that_was_given(folder, reference):
    """Said before: nothing; the middle of the range, always."""
    search = {"num_steps": 5, "objective": {"kind": "add_linear", "reference": reference}}
    job = job_of(folder, "weighted", sweep={"latency_weights": [0.3]}, search=search)
    (trial,) = plan_trials(job.run)
    costs = cost_table(job.space, job.target(trial.target), "")
    search = _trial_search(job, trial, costs, Supernet(job.space), open_data(job), place(Memory()))
    wanted = reference or (costs.minimum + costs.maximum) / 2
    assert (search.objective.reference, search.objective.multiplier) == (wanted, 0.3)


def test_states_are_saved_at_intervals_and_where_a_stage_ends(undisturbed):
    _, names = undisturbed
    assert names == [
        "search-000004", "search-000008", "search-000010", "train-000000", "train-000004", "train-000008",
    ]  # fmt: skip


@pytest.mark.parametrize("cut_after", [1, 2, 3, 4, 5, 6])
def test_a_cut_after_any_save_changes_nothing_and_rank_zeros_statistics_are_not_used(folder, undisturbed, cut_after):
    torch.manual_seed(cut_after)  # other random numbers in the process must not matter either
    found, names = play(job_of(folder, f"cut-{cut_after}"), cut_after)
    assert len(set(names)) == len(names), "a checkpoint was written twice although it was registered"
    assert found == undisturbed[0]


def test_the_curve_of_a_search_has_its_steps_with_cost_and_entropy(folder, undisturbed):
    job = job_of(folder, "undisturbed")
    (trial,) = plan_trials(job.run)
    curve = stored_curve(job.trial_store(trial))
    assert [point.step for point in curve] == list(range(1, 11))
    most = max(math.log(len(position.candidates)) for position in job.space.positions)
    assert all(point.expected_cost > 0 and 0 < point.entropy <= most for point in curve)


def test_every_start_is_listed(folder):
    job = job_of(folder, "listed")
    play(job, 2)
    (trial,) = plan_trials(job.run)
    assert starts_of(job.store, WARMUP_KEY) == (Start("search", 0, 1), Start("search", 8, 1))
    assert starts_of(job.store, trial.key) == (Start("search", 0, 1), Start("search", 8, 1))


@pytest.mark.parametrize("source", ["checkpoint", "start"])
def test_a_damaged_warm_up_is_named_and_made_again_to_the_bit(folder, source):
    job, saver = job_of(folder, f"warm-{source}"), Kept()
    run_warmup(job, place(saver))
    whole = job.store.read(WARMUP_FILE)
    assert is_intact(job.store, WARMUP_FILE)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    job.store.write(WARMUP_FILE, bytes(flipped))
    assert not is_intact(job.store, WARMUP_FILE)
    with pytest.raises(RunError, match=r"warmup\.pt: damaged \(its checksum does not fit\); remove it and run"):
        load_warm_supernet(job)
    run_warmup(job, place(saver if source == "checkpoint" else Kept()))
    assert job.store.read(WARMUP_FILE) == whole


def test_a_damaged_file_of_a_trial_is_made_again_to_the_bit_or_named(folder, undisturbed):
    """Only a measurement cannot be made again exactly; so it is not, and the reason names the file."""
    job, saver = job_of(folder, "again"), Kept()
    (trial,) = plan_trials(job.run)
    costs, store = cost_table(job.space, job.target(trial.target), ""), job.trial_store(trial)

    def measure(architecture):
        return Figure(costs.total(job.space.path(architecture)))

    def again():
        train = lambda: run_trial_stages(job, trial, costs, place(saver), measure)  # noqa: E731
        return finish(job, trial, costs, train, NO_DEVICE, lambda news: None)

    run_warmup(job, place(Memory()))
    result, whole = again(), {name: store.read(name) for name in DELIVERED}
    assert {name: whole[name] for name in FILES} == undisturbed[0]
    steps = len(saver.names)
    for name in (OUTCOME_FILE, WEIGHTS_FILE, ARCHITECTURE_FILE, *MADE, EVALUATION_FILE, MEASUREMENT_FILE):
        store.write(name, store.read(name)[: len(store.read(name)) // 2])
        if name == MEASUREMENT_FILE:
            with pytest.raises(RunError, match=r"measurement\.json: damaged .*; remove it and run the command again"):
                again()
            Path(store.uri, name).unlink()
        assert again() == result, name
        assert {name: store.read(name) for name in DELIVERED} == whole, name
        assert len(saver.names) == steps, f"{name}: nothing is trained again"


def predicted(job, costs, store):
    architecture = Architecture.parse(read_record(store, OUTCOME_FILE, Outcome).architecture)
    return costs.total(job.space.path(architecture))


@pytest.mark.parametrize("cut_after", [None, 5])
def test_another_derivation_repeats_the_search_and_trains_a_network_of_the_lower_limit(folder, undisturbed, cut_after):
    job = job_of(folder, f"lower-{cut_after}")
    play(job, None)
    (trial,) = plan_trials(job.run)
    costs, store = cost_table(job.space, job.target(trial.target), ""), job.trial_store(trial)
    first = predicted(job, costs, store)
    over = 1.1 * trial.reference(costs)
    keep_corrections(store, [Correction(read_record(store, OUTCOME_FILE, Outcome).architecture, over)])
    found, names = play(job, cut_after)
    second = read_record(store, OUTCOME_FILE, Outcome)
    assert names[:3] == ["search-000004", "search-000008", "search-000010"], "nothing of the first one was found"
    assert found[SEARCH_FILE] == undisturbed[0][SEARCH_FILE]
    assert second.num_corrections == 1
    assert predicted(job, costs, store) < first
    path = job.space.path(Architecture.parse(second.architecture))
    assert corrected(costs, job.space, corrections_of(store)).total(path) <= trial.reference(costs)


def test_a_trial_keeps_the_limits_of_its_run(folder, undisturbed):
    table = macs_table(job_of(folder, "unlimited").space)
    first = Architecture.parse(json.loads(undisturbed[0][OUTCOME_FILE])["value"]["architecture"])
    most = 0.98 * table.total(job_of(folder, "unlimited").space.path(first))
    job = job_of(folder, "limited", limits={"macs": most, "peak_memory_mib": 0.012})
    found, _ = play(job, None)
    path = job.space.path(Architecture.parse(json.loads(found[OUTCOME_FILE])["value"]["architecture"]))
    assert table.total(path) <= most
    assert network_peak(job.space, path) <= 0.012 * 2**20
