"""The comparison of supernets end to end, on a few made-up images and a made-up table; and its parts that are pure."""

import io
import json
import random
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from benchmarks.macro import __main__ as macro
from benchmarks.macro import images as macro_images
from benchmarks.macro.judging import networks
from benchmarks.macro.ranking import mean_ranking, ranking
from benchmarks.macro.truth import Truth, distinct, path_of, read_truth
from supernet.cost import macs_table, params_table
from supernet.pool import Judged
from supernet.presets import load_space

NUM_IMAGES = 96


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Write a Parquet file laid out as data hubs do, with labels that the mean colour tells."""
    folder, draws = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    rows = []
    for number in range(NUM_IMAGES):
        pixels = draws.integers(0, 80, (32, 32, 3), dtype=np.uint8) + np.uint8(16 * (number % 10))
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG")
        rows.append({"img": {"bytes": encoded.getvalue(), "path": f"{number}.png"}, "label": number % 10})
    for split in ("train", "test"):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Write a table of all keys whose accuracy rises with the multiply-adds; parameters and counts are our own."""
    space, draws = load_space("nas-bench-macro"), random.Random(0)
    params, macs = params_table(space), macs_table(space)
    table = {}
    for number in range(3**8):
        key = np.base_repr(number, 3).zfill(8)
        path = path_of(key)
        accuracy = 85 + macs.total(path) / 2e7 + draws.gauss(0, 0.01)
        table[key] = {"mean_acc": accuracy, "params": params.total(path), "flops": macs.total(path)}
    file = tmp_path_factory.mktemp("table") / "table.json"
    file.write_text(json.dumps(table))
    return file


@pytest.fixture
def run(images, table, tmp_path, monkeypatch, capsys):
    """Run the command on few images, with one step of everything and a small pool, and return its report."""
    monkeypatch.setattr(macro_images, "NUM_VALIDATION", 32)
    settings = macro.read_settings()
    settings["search"]["num_steps"], settings["search"]["batch_size"] = 2, 8
    settings["derive"] |= {"num_candidates": 3, "pool_size": 8, "max_validation_images": 16}
    for module in ("supernets", "judging", "finding"):
        monkeypatch.setattr(f"benchmarks.macro.{module}.read_settings", lambda: settings)
    for module in ("supernets", "judging"):
        monkeypatch.setattr(f"benchmarks.macro.{module}.BATCH_SIZE", 16)
    monkeypatch.setattr("supernet.judging.NUM_SHARED", 3)
    threads = torch.get_num_threads()

    def run(*arguments):
        given = ["--truth", str(table), "--images", str(images), "--work", str(tmp_path / "runs"), "--json"]
        given += ["--epochs", "2", "--networks", "8", "--threads", "1", *arguments]
        monkeypatch.setattr(sys, "argv", ["macro", *given])
        assert macro.main() == 0
        return json.loads(capsys.readouterr().out)

    yield run
    torch.set_num_threads(threads)


def test_all_stages_run_and_a_second_run_finds_everything_done(run, tmp_path, monkeypatch):
    asked = ["--stages", "ranking", "found", "cost", "--arms", "uniform", "fair", "--budgets", "60"]
    asked += ["--both-statistics", "8", "--output", str(tmp_path / "macro.json"), "--png", str(tmp_path / "found.png")]
    report = run(*asked)
    each = report["ranking"]["each"]
    assert [(row["arm"], row["seed"]) for row in each] == [("uniform", 0), ("fair", 0)]
    assert all(-1 <= row["tau"] <= 1 and row["num_networks"] == 8 for row in each)
    assert each[0]["tau_macs"] > 0.9
    assert {"own_statistics", "shared_statistics"} <= each[0].keys()
    assert report["ranking"] == {
        "tau": each[0]["tau"], "tau_upper_half": each[0]["tau_upper_half"], "arm": "uniform", "epochs": 2.0,
        "num_networks": 8, "seeds": 1, "each": each,
    }  # fmt: skip
    kinds = {(row["estimator"], row["derivation"]) for row in report["found"]}
    assert kinds == {
        ("none", "judged"), ("none", "pool"),
        ("one-path", "most-probable"), ("one-path", "judged"), ("one-path", "judged-pool"),
    }  # fmt: skip
    assert len(report["found"]) == 2 * len(kinds)
    assert all(row["within_budget"] and row["num_macs"] <= row["budget_macs"] for row in report["found"])
    assert all(row["pool"] > 0 and min(row["further_budget"].values()) > 0 for row in report["cost"])
    assert all(row["shared_statistics"] > 0 for row in report["cost"])
    written = json.loads((tmp_path / "macro.json").read_text())
    assert written["found"] == report["found"]
    assert {"version", "settings"} <= written.keys()
    assert Image.open(tmp_path / "found.png").size[0] > 500

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr("supernet.loop.Search.step", refuse)
    for name in ("supernet.judging.PathJudge.__call__", "benchmarks.macro.supernets.share_statistics"):
        monkeypatch.setattr(name, refuse)
    assert run(*asked) == report


def test_how_well_supernets_rank_is_drawn_over_their_epochs(run, tmp_path):
    report = run(
        "--stages", "ranking", "--arms", "uniform", "--epochs", "2", "4", "--curve", str(tmp_path / "curve.png")
    )
    assert [row["epochs"] for row in report["ranking"]["each"]] == [2.0, 4.0]
    assert report["ranking"]["epochs"] == 4.0
    assert Image.open(tmp_path / "curve.png").size[0] > 500


def test_a_derivation_that_was_not_known_when_a_search_was_kept_is_made(run, tmp_path):
    asked = ["--stages", "found", "--arms", "uniform", "--budgets", "60"]
    report = run(*asked)
    (file,) = (tmp_path / "runs").glob("*/found.json")
    kept = json.loads(file.read_text())
    file.write_text(json.dumps([row for row in kept if row["derivation"] != "judged-pool"]))
    again = run(*asked)
    assert [(row["estimator"], row["derivation"]) for row in again["found"]] == [
        (row["estimator"], row["derivation"]) for row in report["found"]
    ]
    assert len(json.loads(file.read_text())) == len(kept)


def test_counts_are_compared_with_the_table(run, table):
    assert run("--stages", "counts") == {"counts": {"equal": 6561, "num_networks": 6561}}


def test_images_are_asked_for_where_they_are_needed(table, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["macro", "--truth", str(table), "--stages", "ranking"])
    with pytest.raises(SystemExit):
        macro.main()
    assert "--images: needed by ranking" in capsys.readouterr().err


def test_keys_and_equal_networks(table):
    assert path_of("01220112") == (2, 0, 1, 1, 2, 0, 0, 1)
    assert distinct((0, 2, 1, 2, 0, 2, 2, 1)) == (0, 2, 1, 0, 2, 2, 1, 2)
    assert len({distinct(path_of(np.base_repr(number, 3).zfill(8))) for number in range(3**8)}) == 3969
    assert len(networks(5000)) == 3969
    assert networks(20) == networks(50)[:20]
    truth = read_truth(table)
    assert truth[(0, 2, 1, 2, 0, 2, 2, 1)].accuracy == truth[(0, 2, 1, 0, 2, 2, 1, 2)].accuracy


def test_ranking_of_planted_numbers():
    paths = networks(80)
    truth = {path: Truth(90 + number / 100, 1000 - number, number) for number, path in enumerate(paths)}
    judged = [Judged(path, 0.5 + number / 1000, 2.0 - number / 100) for number, path in enumerate(paths)]
    found = ranking(judged, truth, judged[:30])
    assert (found["tau_loss"], found["tau_loss_upper_half"], found["tau_top1"]) == (pytest.approx(1.0),) * 3
    assert (found["tau_macs"], found["tau_params"]) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert found["tau_loss_within_macs"] == pytest.approx(1.0)
    worst = [Judged(found.path, found.top1, -found.loss) for found in judged]
    assert ranking(worst, truth, worst[:30])["tau_loss"] == pytest.approx(-1.0)


def test_the_model_ranks_what_it_was_fitted_to_by_the_others_and_the_rest_as_unseen():
    space = load_space("nas-bench-macro")
    macs, draws = macs_table(space), random.Random(0)
    truth = {path: Truth(macs.total(path) / 1e6, 1, int(macs.total(path))) for path in networks(120)}
    judged = [Judged(path, 0.5, 2 - macs.total(path) / 1e8) for path in truth]
    assert ranking(judged, truth, judged[:60])["tau"] > 0.99
    noisy = [replace(found, loss=draws.random()) for found in judged[:60]] + judged[60:]
    assert ranking(noisy, truth, noisy[:60])["tau"] < 0.4  # its own judgements are not what it ranks the others by


def test_seeds_are_summed_up_for_the_longest_warm_up_of_the_first_arm():
    rows = [
        {"arm": arm, "epochs": epochs, "seed": seed, "num_networks": 9, "tau": tau, "tau_upper_half": tau / 2}
        for arm, epochs, seed, tau in (
            ("uniform", 1.0, 0, 0.1),
            ("uniform", 2.0, 0, 0.5),
            ("fair", 2.0, 0, 0.9),
            ("uniform", 2.0, 1, 0.7),
        )
    ]
    found = mean_ranking(rows)
    assert (found["tau"], found["tau_upper_half"], found["seeds"]) == (pytest.approx(0.6), pytest.approx(0.3), 2)
    assert found["each"] == rows
