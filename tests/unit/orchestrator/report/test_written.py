"""The report of a sweep is written beside it, whatever there is to say."""

import json
from dataclasses import replace

from report_cases import done

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.ledgers import kept_ledger
from orchestrator.plan.news import News
from orchestrator.plan.trials import Job
from orchestrator.report.written import write_report
from supernet.presets import read_preset


def job_in(folder):
    definition, _ = read_preset("runs", "quickstart")
    return Job(resolved(check_run({**definition, "storage": str(folder)}, "quickstart")), "")


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


def test_where_all_trials_failed_the_ledger_is_left(tmp_path):
    assert set(write_report(job_in(tmp_path), [])) == {"ledger.json"}
