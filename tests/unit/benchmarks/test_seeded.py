"""What a work folder says of the settings it was begun under: which may change, and what is refused."""

import argparse
import json

import pytest

from benchmarks.seeded import SETTINGS_FILE, add_arguments, require_budget, require_settings
from supernet.errors import InputError


def asked(folder, *changed):
    parser = argparse.ArgumentParser()
    add_arguments(parser, work=str(folder))
    parser.add_argument("--targets", nargs="+")
    return parser.parse_args(changed)


def test_what_decides_what_is_found_may_not_change_and_what_is_run_may(tmp_path):
    require_settings(asked(tmp_path))
    kept = json.loads((tmp_path / SETTINGS_FILE).read_text())
    assert kept["warmup_steps"] == 400
    require_settings(asked(tmp_path, "--targets", "macs", "--table-seconds", "60", "--json"))
    with pytest.raises(InputError, match=rf"--work {tmp_path}: kept under warmup_steps 400, asked for is 9; .*--work"):
        require_settings(asked(tmp_path, "--warmup-steps", "9"))
    assert json.loads((tmp_path / SETTINGS_FILE).read_text()) == kept


def test_what_is_kept_without_its_settings_is_refused(tmp_path):
    (tmp_path / "seed-0").mkdir()
    with pytest.raises(InputError, match="says no settings; take another --work"):
        require_settings(asked(tmp_path))


def test_what_was_found_by_another_table_is_refused(tmp_path):
    require_budget(tmp_path, 0.25, 0.25)
    with pytest.raises(InputError, match=r"a budget of 0.25, the table now gives 0.26"):
        require_budget(tmp_path, 0.25, 0.26)
