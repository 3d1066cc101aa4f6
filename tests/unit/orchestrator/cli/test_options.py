"""Sweeps by name: read from where they are kept, also after their folder was moved, or beside folders that are none."""

import shutil

import pytest

from orchestrator.cli.options import open_registries, stored_job
from orchestrator.plan.addresses import embedded_registry
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import CONFIG_FILE, Job
from orchestrator.registry.store import Registry
from supernet.errors import InputError
from supernet.presets import read_preset


@pytest.fixture
def kept(tmp_path):
    definition, _ = read_preset("runs", "quickstart")
    job = Job(resolved(check_run({**definition, "storage": str(tmp_path / "here")}, "quickstart")), "")
    job.store.write_json(CONFIG_FILE, dict(job.config))
    return job


def test_a_sweep_is_where_it_is_found_and_not_where_it_was(kept, tmp_path):
    assert stored_job("quickstart", kept.root.uri).config == kept.config
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert stored_job("quickstart", str(tmp_path / "there")).store.uri == str(tmp_path / "there" / "quickstart")


def test_a_sweep_in_a_folder_of_another_name_is_not_taken_for_it(kept, tmp_path):
    """Seen: the copy's page was asked for, and the original's was written anew."""
    shutil.copytree(tmp_path / "here" / "quickstart", tmp_path / "here" / "copy")
    with pytest.raises(InputError, match=r"here/copy: holds sweep 'quickstart'.*rename the folder back"):
        stored_job("copy", kept.root.uri)


def test_an_unknown_sweep_names_the_nearest(kept):
    with pytest.raises(InputError, match=r"no sweep 'quikstart' in .*here; did you mean 'quickstart'.*--storage"):
        stored_job("quikstart", kept.root.uri)


def test_a_folder_that_is_no_sweep_hides_no_registry(kept, capsys):
    """Said before, of all sweeps: config.json: unknown key 'architectures'."""
    address = embedded_registry(kept.root.uri)
    Registry(address)
    others = {"a": b'{"architectures": ["ViT"]}', "b": b"{", "c": b'{"name": "c", "gone": 1}'}
    for name, content in others.items():
        kept.root.child(name).write(CONFIG_FILE, content)
    (opened,) = open_registries(kept.root.uri, None)
    assert opened.address == address
    told = capsys.readouterr().err
    for name in others:
        assert f"left out: {kept.root.uri}/{name}/{CONFIG_FILE}: " in told
        with pytest.raises(InputError, match=rf"{kept.root.uri}/{name}/{CONFIG_FILE}: .*(move the folder|remove it)"):
            stored_job(name, kept.root.uri)
