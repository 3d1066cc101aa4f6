"""The pool of judged paths of a sweep: filled once, resumed, remade where damaged, and used by its trials."""

from dataclasses import replace

import pytest
import torch
import yaml
from repository import ROOT
from shared_mode import in_shared_mode

from orchestrator.data.build import build
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import POOL_FILE, Job
from orchestrator.trial import pooling
from orchestrator.trial.place import Place
from orchestrator.trial.pooling import fill_pool, judge_of, pool_is_whole, read_pool, whole_pool
from orchestrator.trial.stages import open_data
from supernet.cost import params_table
from supernet.errors import RunError
from supernet.gates import ArchitectureParameters
from supernet.limits import Limits
from supernet.loop import Search
from supernet.network import Supernet
from supernet.pool import pool_paths
from supernet.presets import load_space
from supernet.sync import Alone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("pooling")
    build("digits", made / "digits", validation_fraction=0.05, test_fraction=0.05, seed=0)
    return made


def scene(folder, name, mode="shared"):
    """Return a job, its supernet, its images and a place that keeps the news."""
    run = yaml.safe_load((ROOT / "benchmarks" / "small_sweep.yaml").read_text())
    run |= {"name": name, "storage": str(folder), "workers": 1}
    run = in_shared_mode(run) if mode == "shared" else run
    run["derive"] = {**run.get("derive", {}), "strategy": "pool", "pool_size": 7, "recalibration_batches": 1}
    job, told = Job(resolved(check_run(run, name)), str(folder / "digits")), []
    place = Place(sync=Alone(), device=torch.device("cpu"), saver=None, post=told.append)
    return job, Supernet(load_space(job.run.space), seed=0), open_data(job), place, told


def all_of(supernet):
    """Say that no candidate was dropped."""
    return ArchitectureParameters(supernet.space, torch.Generator()).alive


def test_a_pool_is_filled_stored_and_read_back(folder):
    job, supernet, data, place, told = scene(folder, "filled")
    assert read_pool(job.store) == ()
    fill_pool(job, supernet, data, place)
    pool = read_pool(job.store)
    assert [found.path for found in pool] == pool_paths(supernet.space, 7, job.run.seed)
    assert len({found.loss for found in pool}) > 1
    assert told[-1].key == "supernet"
    assert told[-1].step == told[-1].num_steps > 0


def test_a_pool_that_was_cut_goes_on_and_ends_the_same(folder, monkeypatch):
    monkeypatch.setattr(pooling, "PART", 2)
    job, supernet, data, place, _ = scene(folder, "whole")
    fill_pool(job, supernet, data, place)
    cut, *_ = scene(folder, "cut")
    written = []

    def write_and_die(store, pool):
        write(store, pool)
        written.append(len(pool))
        if len(written) == 2:
            raise KeyboardInterrupt

    write = pooling._write
    monkeypatch.setattr(pooling, "_write", write_and_die)
    with pytest.raises(KeyboardInterrupt):
        fill_pool(cut, supernet, data, place)
    assert [len(read_pool(cut.store))] == written[-1:] == [4]
    fill_pool(cut, supernet, data, place)
    assert written == [2, 4, 6, 7]
    assert read_pool(cut.store) == read_pool(job.store)


def test_the_paths_of_a_pool_are_drawn_once(folder, monkeypatch):
    """Before: once for each part that is written, so that a pool of 100,000 was drawn 2,000 times."""
    drawn = []
    monkeypatch.setattr(pooling, "PART", 2)
    monkeypatch.setattr(pooling, "pool_paths", lambda *asked: drawn.append(1) or pool_paths(*asked))
    job, supernet, data, place, _ = scene(folder, "once")
    fill_pool(job, supernet, data, place)
    assert (len(read_pool(job.store)), len(drawn)) == (7, 1)


def test_a_damaged_pool_is_named_to_a_trial_and_made_again_by_the_warm_up(folder):
    job, supernet, data, place, _ = scene(folder, "damaged")
    fill_pool(job, supernet, data, place)
    pool, content = read_pool(job.store), job.store.read(POOL_FILE)
    job.store.write(POOL_FILE, content[: len(content) // 2])
    with pytest.raises(RunError, match=r"pool\.parquet: damaged .* What is lost with it: nothing"):
        whole_pool(job, judge_of(job, "trial", supernet, data, place), all_of(supernet))
    fill_pool(job, supernet, data, place)
    assert read_pool(job.store) == pool


def test_a_trial_takes_the_sweeps_pool_and_judges_only_what_is_missing(folder):
    job, supernet, data, place, told = scene(folder, "taken")
    fill_pool(job, supernet, data, place)
    told.clear()
    assert whole_pool(job, judge_of(job, "trial", supernet, data, place), all_of(supernet)) == read_pool(job.store)
    assert not told
    larger = replace(job, config={**job.config, "derive": {**job.config["derive"], "pool_size": 9}})
    assert (pool_is_whole(job), pool_is_whole(larger)) == (True, False)
    pool = whole_pool(larger, judge_of(larger, "trial", supernet, data, place), all_of(supernet))
    assert told
    assert pool[:7] == read_pool(job.store)
    assert len(pool) == 9


def test_a_trial_with_weights_of_its_own_judges_its_own_pool(folder):
    job, supernet, data, place, _ = scene(folder, "shared")
    fill_pool(job, supernet, data, place)
    own, *_ = scene(folder, "shared", mode="independent")
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.mul_(1.3)
    pool = whole_pool(own, judge_of(own, "trial", supernet, data, place), all_of(supernet))
    assert [found.path for found in pool] == [found.path for found in read_pool(job.store)]
    assert pool != read_pool(job.store)


@pytest.mark.parametrize("mode", ["shared", "independent"])
def test_paths_through_dropped_candidates_are_not_judged(folder, mode):
    """Said before: 'NoneType' object has no attribute 'modules', after the whole search, and so at every restart."""
    job, supernet, data, place, _ = scene(folder, f"dropped-{mode}", mode=mode)
    limits = Limits(forbidden=((0, 0), (1, 2)))
    costs, settings = params_table(supernet.space), job.run.search_settings
    settings = replace(settings, objective=replace(settings.objective, reference=costs.maximum))
    search = Search(supernet, costs, settings, data, seed=0, limits=limits)
    pool = whole_pool(job, judge_of(job, "trial", supernet, data, place), search.alpha.alive)
    assert len(pool) == 7 if mode == "independent" else 0 < len(pool) < 7
    assert not [found.path for found in pool if found.path[0] == 0 or found.path[1] == 2]
