"""`onepath register`: what cannot be registered is refused before anything is measured, with exit code 2."""

import pytest

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import CONFIG_FILE, Job
from supernet.presets import read_preset


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--mean", "0.5"), "--mean and --std belong together"),
        (("--mean", "0.5;0.5", "--std", "1"), "--mean '0.5;0.5': give a number for each channel"),
        (("--key", "../up"), "key: '../up'"),
        (("--target", "ort"), "unknown target 'ort'"),
        (("--name", "night", "--key", "macs-5M"), "sweep 'night' has a trial of that name"),
        (("--name", "copy"), "copy: holds sweep 'night'"),  # seen: registered with the configuration of that one
        ((), "own.onnx: no such file"),
    ],
)
def test_what_cannot_be_registered_is_refused(here, tmp_path, options, reason):
    definition, _ = read_preset("runs", "quickstart")
    changes = {"name": "night", "targets": ["macs"], "sweep": {"budget_counts": [5e6]}, "storage": str(tmp_path)}
    job = Job(resolved(check_run({**definition, **changes}, "night")), "")
    for folder in (job.store, job.root.child("copy")):
        folder.write_json(CONFIG_FILE, dict(job.config))
    given = {"--name": "own", "--target": "ort-cpu-1t", "--data": "data", "--storage": str(tmp_path)}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    done = here("register", "own.onnx", *(word for pair in given.items() for word in pair), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
