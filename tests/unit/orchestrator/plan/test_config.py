"""What a user may write wrong, and what the message says."""

import math

import pytest
from shared_mode import in_shared_mode

from orchestrator.plan.check import check_run
from supernet.errors import InputError
from supernet.presets import read_preset, space_definition


def quickstart(**changes):
    definition, _ = read_preset("runs", "quickstart")
    return {**definition, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serch": 1}, "unknown key 'serch'; did you mean 'search'"),
        ({"search": {"num_step": 3}}, "mine.search: unknown key 'num_step'; did you mean 'num_steps'"),
        (
            {"search": {"num_steps": 3, "objective": {"kinds": "budget"}}},
            "mine.search.objective: unknown key 'kinds'; did you mean 'kind'",
        ),
        ({"search": {"num_steps": "many"}}, "mine.search.num_steps: 'many'"),
        ({"targets": ["ort-cpu-1"]}, "mine.targets[0]: unknown target 'ort-cpu-1'; did you mean 'ort-cpu-1t'"),
        ({"targets": ["ort-cpu-1t", "ort-cpu-1t"]}, "mine.targets: names must differ"),
        ({"targets": []}, "mine.targets"),
        ({"sweep": {"budgets_ms": [3.0, -1.0]}}, "mine.sweep.budgets_ms[1]: -1.0: "),
        ({"sweep": {"budgets_ms": [math.inf]}}, "mine.sweep.budgets_ms[0]: inf: "),
        ({"sweep": {"budgets_ms": [1.0] * 2000}}, "at most 1000 items"),
        ({"sweep": {"budgets_ms": {"ort": [1.0]}}}, "mine.sweep.budgets_ms: unknown target 'ort'"),
        ({"sweep": {"budgets_ms": {"ort-cpu-1t": [1.0]}}}, "no budget for torch-cpu-1t"),
        ({"sweep": {}}, "exactly one of budgets_ms (beside it budget_counts"),
        ({"sweep": {"budgets_ms": [1.0], "budget_fractions": [0.5]}}, "exactly one of"),
        ({"sweep": {"latency_weights": [0.1]}}, "search.objective.kind"),
        ({"space": "digit"}, "unknown space 'digit'; did you mean 'digits'"),
        ({"space": {"base": "digits", "input_size": [1, 0, 16]}}, "input_size"),
        ({"name": "a/b"}, "mine.name: 'a/b'"),
        ({"workers": {"min": 3, "max": 2}}, "max 2 is below min 3"),
        ({"mode": "both"}, "mine.mode: 'both'"),
        ({"data": {"source": "digits", "test_fraction": 1.5}}, "mine.data.test_fraction: 1.5"),
        (
            {"data": {"source": "digits", "test_fraction": 0.5, "validation_fraction": 0.5}},
            "leave no image to train on",
        ),
        (
            {"data": {"source": "digits", "augment": "flip"}},
            "mine.data.augment: 'flip': augment: unknown preset 'flip'",
        ),
        ({"data": {"source": "digits", "final_augment": "flip"}}, "mine.data.final_augment: 'flip': augment: unknown"),
        (
            {"data": {"source": "digits", "augment": "light", "final_augment": "imagenet"}},
            "mine.data: augment 'light' squeezes whole images and 'imagenet' crops them",
        ),
        ({"data": {"source": "a\nb"}}, "mine.data.source"),
        ({"mlflow": {"tracking_uri": "htp://x"}}, "unknown scheme 'htp'; did you mean 'http'"),
        ({"mlflow": {"tracking_uri": "runs/mlflow.db"}}, "mine.mlflow.tracking_uri: 'runs/mlflow.db': unknown scheme"),
        *[
            (
                {"mlflow": {"tracking_uri": f"{scheme}://u@db/mlflow"}},
                f"a {scheme.partition('+')[0]} database keeps no files of networks; start `mlflow server` over it",
            )
            for scheme in ("postgresql", "postgresql+psycopg2", "mysql", "mssql+pyodbc")
        ],
        ({"storage": "s4://bucket/x"}, "mine.storage: 's4://bucket/x': unknown scheme 's4'; known are abfs"),
        ({"storage": ""}, "mine.storage: ''"),
        *[
            ({"name": name}, "use another name")
            for name in ("tables", "data", "Artifacts", "mlflow.db", "mlflow.db-wal")
        ],
        *[({"name": name}, "mine.name: ") for name in ("", "..", "a/../b", "a\n", None, ["a"], 7)],
        ({"workers": {"cpus": math.inf}}, "mine.workers.cpus: inf"),
        ({"workers": True}, "mine.workers: True"),
        ({"workers": {"resources": {"train": -1}}}, "mine.workers.resources.train: -1"),
        ({"measure": {"wait_minutes": math.inf}}, "mine.measure.wait_minutes: inf"),
        ({"checkpoint": {"every_seconds": math.nan}}, "mine.checkpoint.every_seconds: nan"),
        ({"max_concurrent": 0}, "mine.max_concurrent: 0"),
        ({"seed": -1}, "mine.seed: -1"),
        ({"mode": "independent", "search": {"num_steps": 9, "arch_every": 0}}, "mine.search.arch_every: 0 means that"),
        (
            {"mode": "shared", "search": {"num_steps": 9, "arch_every": 0, "sharing": {"order": "fair"}}},
            "mine.search.sharing",
        ),
        (
            {"mode": "independent", "search": {"num_steps": 4}},
            "mine.search.arch_every: 5, more than num_steps 4: no architecture step would be made; lower it or raise",
        ),
        (
            {"mode": "shared", "search": {"num_steps": 59, "prune": {}}},
            "mine.search.prune: 59 architecture steps are fewer than every 20",
        ),
        ({"mode": "independent", "search": {"num_steps": 60, "prune": {}}}, "mine.search.prune: 12 architecture steps"),
        (
            {"mode": "shared", "search": {"num_steps": 60, "prune": {"start": 1.0}}},
            "mine.search.prune: start 1 comes after the last check, at 0.983 of the search",
        ),
        *[
            ({"warmup": {"num_steps": 9, key: value}}, f"mine.warmup.{told}; a warm-up trains weights and nothing else")
            for key, value, told in [
                ("arch_every", 5, "arch_every: 5"),
                ("train_weights", False, "train_weights: False"),
                ("estimator", "two-path", "estimator: 'two-path'"),
                ("objective", {"kind": "add_linear"}, "objective.kind: 'add_linear'"),
            ]
        ],
        ({"warmup": {"num_steps": 9, "prune": {}}}, "mine.warmup.prune: {"),
        *[
            (
                {"mode": "shared", "search": {"num_steps": 9, key: value}},
                f"mine.search.{told}; with mode 'shared' a search leaves the weights as they are; remove this key, or",
            )
            for key, value, told in [
                ("learning_rate", 0.1, "learning_rate: 0.1"),
                ("schedule", "linear", "schedule: 'linear'"),
                ("momentum", 0.8, "momentum: 0.8"),
                ("weight_decay", 0.0, "weight_decay: 0.0"),
                ("label_smoothing", 0.0, "label_smoothing: 0.0"),
                ("sharing", {"num_paths": 2}, "sharing.num_paths: 2"),
                ("arch_every", 2, "arch_every: 2"),
            ]
        ],
        (
            {
                "workers": 2,
                "warmup": {"num_steps": 9, "batch_size": 23, "sharing": {"num_paths": 10, "sandwich": True}},
            },
            "mine.warmup.batch_size: 23 images are too few for 12 paths on each of 2 workers; give at least 24",
        ),
        (
            {"mode": "independent", "search": {"num_steps": 9, "batch_size": 8, "sharing": {"num_paths": 12}}},
            "mine.search.batch_size: 8 images are too few for 12 paths on each of 1 workers",
        ),
        ({"warmup": {"num_steps": 0}}, "mine.warmup: num_steps 0 takes an earlier sweep's supernet as"),
        ({"search": {"num_steps": 9, "train_weights": False}}, "mine.search.train_weights: 'mode' decides"),
        (
            {"mode": "independent", "derive": {"recalibration_batches": 0}},
            "mine.derive.recalibration_batches: 0; with mode 'independent' each search trains weights",
        ),
        (
            {"targets": ["macs"], "sweep": {"budgets_ms": [40e6]}},
            "targets that count (macs, params) stand under budget_c",
        ),
        (
            {"sweep": {"budget_counts": {"ort-cpu-1t": [4]}}},
            "mine.sweep.budgets_ms: no budget for torch-cpu-1t, ort-cpu",
        ),
        ({"sweep": {"points": 1}}, "mine.sweep.points: 1"),
        ({"sweep": {"points": 8, "budgets_ms": [1.0]}}, "got ['budgets_ms', 'points']"),
        (
            {"sweep": {"points": 8}, "search": {"num_steps": 9, "objective": {"kind": "mul_log"}}},
            "mine: sweep.points goes with search.objective.kind add_linear or budget; a weight of 'mul_log' moves no",
        ),
        (
            {"search": {"num_steps": 9, "objective": {"reference": 3.0}}},
            "mine.search.objective.reference: budgets stand under 'sweep'; remove this key",
        ),
        (
            {"search": {"num_steps": 9, "objective": {"weight": 0.3}}},
            "mine.search.objective.weight: weights stand under 'sweep'; remove this key",
        ),
        (
            {
                "sweep": {"latency_weights": [0.1]},
                "search": {"num_steps": 9, "objective": {"kind": "mul_log", "reference": 0.5}},
            },
            "mine.search.objective.reference: 0.5; mul_log takes its logarithm, which changes sign at 1: give more",
        ),
        (
            {
                "targets": ["macs", "ort-cpu-1t"],
                "sweep": {"latency_weights": [0.1]},
                "search": {"num_steps": 9, "objective": {"kind": "add_linear", "reference": 80.0}},
            },
            "mine.search.objective.reference: 80 for targets in counts and in milliseconds; make a sweep of each, or",
        ),
        ({"targets": ["macs"], "sweep": {"budget_counts": {"macs": [0.5]}}}, "mine.sweep.budget_counts.macs[0]: 0.5"),
    ],
)
def test_wrong_input_is_refused_with_its_place(changes, message):
    with pytest.raises(InputError) as error:
        check_run(quickstart(**changes), "mine")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        *[
            ({"mlflow": {"tracking_uri": f"{scheme}://user:hunter2@host/x"}}, "mine.mlflow.tracking_uri: a user")
            for scheme in ("http", "postgresql+psycopg2")
        ],
        ({"storage": "s3://key:hunter2@bucket/x"}, "mine.storage: "),
        ({"data": {"source": "s3://key:hunter2@bucket/x"}}, "mine.data.source: "),
        ({"warmup": {"num_steps": 9, "from": "s3://key:hunter2@bucket/x"}}, "mine.warmup.from: "),
    ],
)
def test_a_secret_is_refused_and_not_shown(changes, place):
    with pytest.raises(InputError) as error:
        check_run(quickstart(**changes), "mine")
    assert place in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("mode", "sweep", "kind", "strategy", "fills"),
    [
        ("shared", {"budget_fractions": [0.5]}, "budget", "pool", True),
        ("shared", {"budget_fractions": [0.5]}, "budget", "judged", False),
        ("independent", {"budget_fractions": [0.5]}, "budget", "pool", False),
        ("shared", {"latency_weights": [0.1]}, "add_linear", "pool", False),
        ("shared", {"points": 4}, "add_linear", "pool", True),
        ("shared", {"points": 4}, "budget", "judged-pool", True),
    ],
)
def test_a_pool_is_filled_where_trials_derive_or_are_placed_by_it(mode, sweep, kind, strategy, fills):
    search = {"num_steps": 9, "batch_size": 64, "objective": {"kind": kind}}
    run = check_run(quickstart(mode=mode, sweep=sweep, search=search, derive={"strategy": strategy}), "x")
    assert run.fills_pool == fills
    assert run.weighted == (kind != "budget")


def test_frozen_weights_need_no_more_steps_than_the_search_itself():
    """Their every step is an architecture step, whatever `arch_every` is."""
    for search in ({"num_steps": 4}, {"num_steps": 60, "prune": {}}):
        assert check_run(quickstart(mode="shared", search=search), "x").search_settings.searches


def test_mode_decides_whether_trials_train_weights():
    assert check_run(in_shared_mode(quickstart()), "x").search_settings.train_weights is False
    assert check_run(quickstart(mode="independent"), "x").search_settings.train_weights is True


def test_paths_share_statistics_where_that_ranks_them_better():
    independent, shared = quickstart(), in_shared_mode(quickstart())
    at_random = {**shared, "warmup": {**shared["warmup"], "sharing": {"zero_init_residual": False}}}
    plain = space_definition("digits", "space")
    plain["rows"] = [{key: value for key, value in row.items() if key != "skip"} for row in plain["rows"]]
    kinds = {"independent": independent, "shared": shared, "at random": at_random, "plain": {**shared, "space": plain}}

    def own(kind, **derive):
        return check_run({**kinds[kind], "derive": derive}, "mine").own_batches

    assert {kind: own(kind) for kind in kinds} == {"independent": 10, "shared": 0, "at random": 10, "plain": 10}
    assert own("shared", recalibration_batches=3) == 3
    assert own("at random", recalibration_batches=0) == 0
