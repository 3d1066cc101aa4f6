"""The page of all settings: complete, in words, and as it is kept."""

import pytest
from repository import ROOT

from orchestrator.plan.check import SEARCHING
from orchestrator.plan.settings import settings_of, settings_page
from supernet.errors import InputError

ALL = [setting for members in settings_of().values() for setting in members]


def test_the_kept_page_is_todays():
    kept = (ROOT / "docs/settings.md").read_text()
    assert kept == settings_page(), "onepath settings > docs/settings.md"


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.key)
def test_every_setting_is_explained(setting):
    assert len(setting.meaning) > 4


def test_defaults_choices_and_nested_keys_are_told():
    found = {setting.key: setting for setting in ALL}
    assert found["name"].default is None
    assert found["train.inherit"].default == "true"
    assert found["derive.strategy"].default in found["derive.strategy"].choices
    assert (found["search.prune"].default, found["search.prune.patience"].default) == ("null", "3")
    assert "warmup.from" in found
    assert "warmup.origin" not in found


def test_a_setting_of_both_stretches_is_told_once():
    keys = {setting.key for setting in ALL}
    assert "warmup.learning_rate" in keys
    assert "search.learning_rate" not in keys
    assert not any(f"warmup.{name}" in keys for name in SEARCHING)


def test_one_section():
    page = settings_page("gate")
    assert page.startswith("## gate\n")
    assert page.count("## ") == 1
    assert "`parity.fp16`" in page


def test_an_unknown_section_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="no section 'trian'; did you mean 'train'"):
        settings_page("trian")
