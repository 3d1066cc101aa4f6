"""The report of a sweep is written beside it, whatever there is to say."""

import json
from dataclasses import replace

import pytest
from report_cases import done

from orchestrator.plan.baselines import WIDTHS, baselines_of, chosen, keep_cost
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.ledgers import kept_ledger
from orchestrator.plan.news import News
from orchestrator.plan.trials import RESULT_FILE, Job
from orchestrator.report.written import write_report
from supernet.plain import to_sealed
from supernet.presets import read_preset


def job_in(folder, **changes):
    definition, _ = read_preset("runs", "quickstart")
    return Job(resolved(check_run({**definition, "storage": str(folder), **changes}, "quickstart")), "")


def test_a_report_is_picture_page_and_figures_beside_the_sweep(tmp_path):
    job = job_in(tmp_path)
    with kept_ledger(job.store, 1.0, lambda: {"wall": 90.0}) as ledger:
        ledger.look({"fast": News("fast", "search", 1, 2)})
    architecture = job.space.architecture([0] * len(job.space.positions)).id
    files = write_report(job, [replace(done("fast", "ort", 1.0, 0.8), architecture=architecture)])
    assert {"ledger.json", "trust.json", "front.png", "report.html"} <= files.keys()
    assert {name: job.store.read(name) for name in files} == files
    told = json.loads(files["ledger.json"])
    assert told["forecast_seconds"] == {"wall": 90.0}
    assert [spent["key"] for spent in told["spent"]] == ["sweep", "fast"]
    page = files["report.html"].decode()
    assert "Where the time went" in page
    assert '<figure id="network-fast"' in page


@pytest.mark.parametrize("status", ["done", "rejected"])
def test_known_networks_are_compared_where_there_is_one_to_compare(status, tmp_path):
    """Said before: a heading with nothing below it."""
    job = job_in(tmp_path, baselines=["mobilenet-v2"])
    architecture = job.space.architecture([0] * len(job.space.positions)).id
    results = [replace(done("fast", "ort-cpu-1t", 1.0, 0.8), architecture=architecture)]
    (baseline,) = baselines_of(job, results)
    for width in WIDTHS:
        keep_cost(job, baseline, width, width)
    inner, trial = chosen(job, baseline)
    known = done(trial.key, trial.target, 1.0, 0.7, baseline=trial.baseline, status=status)
    inner.trial_store(trial).write(RESULT_FILE, to_sealed(known).encode())
    page = write_report(job, results)["report.html"].decode()
    assert ("Against known networks" in page) == (status == "done")


def test_where_all_trials_failed_the_ledger_is_left(tmp_path):
    assert set(write_report(job_in(tmp_path), [])) == {"ledger.json"}
