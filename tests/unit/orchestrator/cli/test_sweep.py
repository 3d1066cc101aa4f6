"""`onepath sweep` before anything starts."""

import yaml

from supernet.presets import read_preset

BOARD = {"name": "board", "runtime": "command", "device": "x", "options": {"command": ["no-such-program-xyz"]}}


def test_a_sweep_on_one_machine_refuses_targets_that_it_cannot_measure(here, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    definition = read_preset("runs", "quickstart")[0]
    changes = {"data": {"source": "digits"}, "space": "digits", "targets": ["ort-cpu-1t", BOARD]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**definition, **changes}))
    done = here("sweep", "mine.yaml", "--storage", tmp_path / "runs", cwd=tmp_path)
    assert done.returncode == 2
    assert "board: program 'no-such-program-xyz' not found" in done.stderr
    assert "leave them out" in done.stderr
    assert "ort-cpu-1t" not in done.stderr
    assert not (tmp_path / "runs" / "quickstart").exists(), "nothing has begun"
