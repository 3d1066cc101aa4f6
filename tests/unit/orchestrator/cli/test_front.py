"""`onepath front`: reads only, and breaks nothing in a narrow terminal."""

import os
from dataclasses import replace

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import CONFIG_FILE, RESULT_FILE, Job, plan_trials
from supernet.plain import to_sealed
from supernet.presets import read_preset


def test_front_breaks_neither_paths_nor_reasons_in_a_narrow_terminal(here, tmp_path):
    storage = tmp_path / ("a-folder-of-a-long-name-[bold]-" * 3)
    definition, _ = read_preset("runs", "quickstart")
    changes = {"targets": ["macs"], "sweep": {"budget_counts": [5e6]}, "storage": str(storage)}
    job = Job(resolved(check_run({**definition, **changes}, "quickstart")), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    (trial,) = plan_trials(job.run)
    doubt = "the ONNX file differs from the network by 2.0e-02 and [this] is a long line"
    result = TrialResult(
        "quickstart", trial.key, "macs", "budget", 0, 5e6, cost=4523456.0, top1=0.9, validation_top1=0.9
    )
    result = replace(result, num_params=1234, num_macs=4523456, unit="1", doubt=doubt)
    job.trial_store(trial).write(RESULT_FILE, to_sealed(result).encode())
    before = sorted(storage.rglob("*"))
    done = here("front", "quickstart", "--storage", storage, cwd=tmp_path, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sorted(storage.rglob("*")) == before, "front only reads"
    assert not any(line.startswith(("picture", "report")) for line in lines)
    job.store.write("front.png", b"of the sweep")
    again = here("front", "quickstart", "--storage", storage, cwd=tmp_path).stdout
    assert f"picture {storage}/quickstart/front.png" in again.splitlines()
    assert here("front", "quickstart", "--storage", storage, "--json", cwd=tmp_path).returncode == 0
    assert sorted(storage.rglob("*")) == sorted([*before, storage / "quickstart" / "front.png"])
    assert f"{trial.key} is in doubt: {doubt}" in lines
    assert f"  onepath pull quickstart --target macs --max-count 4523456 --storage {storage}" in lines
    assert any(line.split()[:3] == ["macs", "5", "M"] for line in lines)
