"""What a sweep leaves for people to look at: picture, page and figures, written beside it from what is stored.

Why here: the one list of what a report consists of, made again at every end of it, and after one that was none, when
somebody looks. It must not know MLflow or Ray.
"""

from collections.abc import Collection, Mapping, Sequence

import yaml

from orchestrator.plan.baselines import FOLDER as BASELINES
from orchestrator.plan.baselines import speedups, stored_baselines
from orchestrator.plan.cross import FOLDER as CROSS
from orchestrator.plan.cross import Column, stored_columns
from orchestrator.plan.curves import stored_curve
from orchestrator.plan.ledgers import stored_ledger
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import known_trials
from orchestrator.plan.trials import CONFIG_FILE, REGISTERED_FILE, RESULT_FILE, Job
from orchestrator.report.architecture import network_svg
from orchestrator.report.cross import TITLE, cross_grid, cross_notes, cross_plain, home_cells
from orchestrator.report.ledger import ledger_grid, ledger_notes
from orchestrator.report.page import PageTable, report_html
from orchestrator.report.png import front_png
from orchestrator.report.rows import front_rows
from orchestrator.report.trust import trust_of
from supernet.plain import to_json, to_plain
from supernet.space import Architecture

PICTURE, PAGE = "front.png", "report.html"


def renew_report(job: Job, results: Sequence[TrialResult]) -> None:
    """Write the report of a sweep where it is missing or older than what it shows: one that is stopped writes none.

    Args:
        job: The sweep.
        results: Those that are stored.

    Raises:
        RunError: If it cannot be written.
    """
    trials = [f"trials/{trial.key}/{file}" for trial in known_trials(job) for file in (RESULT_FILE, REGISTERED_FILE)]
    known = job.store.child(BASELINES, "trials").names()
    beside = [f"{BASELINES}/trials/{name}/{RESULT_FILE}" for name in known]
    columns = [f"{CROSS}/{target}.json" for target in job.measured]
    written = min(job.store.newest([file]) for file in (PICTURE, PAGE))
    if written < job.store.newest([CONFIG_FILE, *trials, *beside, *columns]):
        write_report(job, results)


def write_report(job: Job, results: Sequence[TrialResult]) -> dict[str, bytes]:
    """Write the report of a sweep beside it, and return its files by name.

    Args:
        job: The sweep.
        results: One per trial.
    """
    ledger, columns = stored_ledger(job.store), stored_columns(job)
    files = {"ledger.json": to_json(ledger.to_plain()).encode()}
    known = stored_baselines(job, results)
    against = speedups(results, known, columns)
    if columns:
        files["cross_table.json"] = to_json(cross_plain(columns, [*results, *known], job.quantised)).encode()
    if any(result.finished for result in results):
        rows, settings = front_rows([*results, *known]), yaml.safe_dump(dict(job.config), sort_keys=False, width=110)
        trust = trust_of(results, shared=job.run.mode == "shared")
        files["trust.json"] = to_json({**to_plain(trust), "sentences": trust.sentences}).encode()
        spent = PageTable("Where the time went", ledger_grid(ledger), ledger_notes(ledger, [r.trial for r in results]))
        cross = [_cross(columns, [*results, *known], job.quantised)] if columns else []
        page = report_html(
            rows,
            title=f"onepath sweep {job.run.name}",
            drawings=_drawings(job, results),
            curves={trial.key: stored_curve(job.trial_store(trial)) for trial in known_trials(job)},
            tables=[*cross, spent],
            sections=[
                *([("Against known networks", "\n".join(against))] if against else []),
                ("Trust in shared weights", "\n".join(trust.sentences)),
                ("Configuration", settings),
            ],
        )
        files |= {PICTURE: front_png(rows), PAGE: page.encode()}
    for name, content in files.items():
        job.store.write(name, content)
    return files


def _cross(columns: Mapping[str, Column], results: Sequence[TrialResult], quantised: Collection[str]) -> PageTable:
    marked, notes = home_cells(columns, results), cross_notes(columns, results, quantised)
    return PageTable(TITLE, cross_grid(columns, results), notes, marked)


def _drawings(job: Job, results: Sequence[TrialResult]) -> dict[str, str]:
    """Return the architecture of each network that is on a front, as SVG by trial."""
    found = [row.result for row in front_rows(results) if row.on_front]
    return {r.trial: network_svg(job.space, Architecture.parse(r.architecture), r.trial) for r in found}
