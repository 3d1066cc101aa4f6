"""The registries that a storage's sweeps name, also beside folders that are none."""

from pathlib import Path

import pytest

from orchestrator.cli.options import open_registries
from orchestrator.plan.addresses import embedded_registry
from orchestrator.plan.continued import stored_job
from orchestrator.plan.trials import CONFIG_FILE
from orchestrator.registry.store import Registry
from supernet.errors import InputError, RunError


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


def test_a_server_that_does_not_answer_hides_no_registry_but_the_only_one(kept, capsys):
    nobody = "http://127.0.0.1:9"
    config = {**kept.config, "name": "away", "mlflow": {"tracking_uri": nobody}}
    kept.root.child("away").write_json(CONFIG_FILE, config)
    Registry(embedded_registry(kept.root.uri))
    (opened,) = open_registries(kept.root.uri, None)
    assert opened.address == embedded_registry(kept.root.uri)
    assert f"left out: MLflow at {nobody}: not reachable" in capsys.readouterr().err
    kept.store.write_json(CONFIG_FILE, {**kept.config, "mlflow": {"tracking_uri": nobody}})
    Path(embedded_registry(kept.root.uri).removeprefix("sqlite:///")).unlink()
    with pytest.raises(RunError, match=rf"{nobody}: not reachable"):
        open_registries(kept.root.uri, None)
