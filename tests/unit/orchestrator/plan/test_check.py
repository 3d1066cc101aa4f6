"""From a preset or a file to a checked sweep, and back to plain data."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from supernet_tiny import TinyData, tiny_costs, tiny_space, tiny_supernet

from orchestrator.plan.check import TRAINING, check_run, converted, load_run, resolved
from supernet.errors import InputError
from supernet.loop import Search
from supernet.objective import ObjectiveSettings
from supernet.presets import preset_names, read_preset
from supernet.recipes import NUM_SEARCH_IMAGES, fine_tuning, paper_search, paper_training, paper_warmup
from supernet.search_settings import SearchSettings
from supernet.sharing import SharingSettings


def quickstart(**changes):
    definition, _ = read_preset("runs", "quickstart")
    return {**definition, **changes}


@pytest.mark.parametrize("name", preset_names("runs"))
def test_every_preset_can_be_meant(name):
    run = check_run(read_preset("runs", name)[0], name)
    assert run.name == name
    assert check_run(json.loads(json.dumps(resolved(run))), name).train == run.train


def test_the_presets_for_imagenet_are_the_recipes():
    paper, fast = (check_run(read_preset("runs", f"imagenet-{name}")[0], name) for name in ("sweep", "fast"))
    images = {"num_images": NUM_SEARCH_IMAGES, "batch_size": 1024}
    warmup = replace(paper_warmup(**images), learning_rate=0.05 * 4)
    assert asdict(paper.warmup) == asdict(warmup) | {"origin": None}  # it may go on from another
    assert paper.search == replace(
        paper_search(ObjectiveSettings(), **images), learning_rate=0.025 * 4, estimator="two-path"
    )
    final = replace(paper_training(**images), learning_rate=0.05 * 4, warmup_steps=6015, recalibration_batches=50)
    assert paper.train == final
    assert fast.train == replace(fine_tuning(3, **images), recalibration_batches=50)
    assert fast.warmup.num_steps == 2 * warmup.num_steps, "80 epochs"


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(InputError, match=r"unknown run 'quick'.*quickstart"):
        load_run("quick")


def test_file_that_is_not_a_mapping(tmp_path):
    (tmp_path / "run.yaml").write_text("- a\n- b\n")
    with pytest.raises(InputError, match="expected a mapping"):
        load_run(str(tmp_path / "run.yaml"))


def test_file_that_is_not_yaml(tmp_path):
    (tmp_path / "run.yaml").write_text("name: [")
    with pytest.raises(InputError, match="not valid YAML"):
        load_run(str(tmp_path / "run.yaml"))


def test_resolved_configuration_reads_back_as_itself():
    run = load_run("quickstart")
    plain = json.loads(json.dumps(resolved(run)))
    again = check_run(plain, "stored")
    assert resolved(again) == plain
    assert again.search == run.search
    assert again.train == run.train


def test_overrides_replace_only_what_is_given():
    run = load_run("quickstart", name="other", storage=None)
    assert run.name == "other"
    assert run.storage == load_run("quickstart").storage


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder", "mine.yaml.data.source: no folder 'no/such/folder'"),
        ("torchvision:CIFAR11:data", "did you mean 'CIFAR10'"),
        ("torchvision:CIFAR10", "expected torchvision:<Dataset>:<folder>"),
    ],
)
def test_a_source_that_is_not_there_is_refused_before_anything_starts(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(json.dumps(quickstart(data={"source": source})))
    with pytest.raises(InputError) as error:
        load_run("mine.yaml")
    assert message in str(error.value)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "mine.yaml").write_text(json.dumps(quickstart(data={"source": "pictures"})))
    assert load_run("mine.yaml").data.source == "pictures"


def folder_of(**changes):
    data = {"source": "scattered-digits", "validation_fraction": 0.2, "test_fraction": 0.3}
    run = quickstart(data=data | {key: changes.pop(key) for key in data.keys() & changes}, storage="/runs", **changes)
    return converted(check_run(run, "mine")).uri


def test_images_are_kept_under_a_name_that_says_what_they_are_made_of():
    """Two sweeps of one storage came to one folder, and the second was told to remove what the first one needs."""
    assert folder_of() == "/runs/data/scattered-digits-s0-v0.2-t0.3"
    assert folder_of() == folder_of(name="another", max_concurrent=3)
    assert folder_of(source="/data/parts").startswith("/runs/data/data-parts-")
    long = "/data/" + "long-" * 100
    others = [
        *({"source": source} for source in ("/data/a-b", "/data/a/b", "data-a-b", "torchvision:CIFAR10:/data")),
        *({"source": f"{long}/{name}"} for name in ("a/b", "a-b")),
        *({"validation_fraction": fraction} for fraction in (0.25, 0.2000001)),
        {"test_fraction": 0.2},
        {"seed": 1},
    ]
    names = [folder_of(), *(folder_of(**other) for other in others)]
    assert len(set(names)) == len(names)
    assert all(len(name.rsplit("/", 1)[-1]) < 100 for name in names)


@pytest.mark.parametrize(("name", "value"), [
    ("learning_rate", 0.3),
    ("schedule", "constant"),
    ("momentum", 0.0),
    ("weight_decay", 0.1),
    ("label_smoothing", 0.5),
    ("sharing", SharingSettings(num_paths=2, sandwich=True, distillation=0.5, candidate_rate=3.0, average=0.9)),
    ("arch_every", 2),
    ("batch_size", 16),
])  # fmt: skip
def test_what_a_search_on_frozen_weights_cannot_have_does_nothing_to_one(name, value):
    space = tiny_space()
    costs = tiny_costs(space)
    budget = ObjectiveSettings(reference=0.6 * costs.maximum)
    plain = SearchSettings(num_steps=3, batch_size=8, train_weights=False, arch_learning_rate=0.05, objective=budget)
    ends = []
    for settings in (plain, replace(plain, **{name: value})):
        search = Search(tiny_supernet(space), costs, settings, TinyData(space), seed=0)
        while not search.done:
            search.step()
        ends.append([search.alpha.logits.detach(), *search.supernet.state_dict().values()])
    same = all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
    assert same == (name in TRAINING)
