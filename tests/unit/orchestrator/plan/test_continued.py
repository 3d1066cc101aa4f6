"""What may change when a sweep is continued: what has begun keeps its settings, and the difference is said."""

import json
import shutil

import pytest

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.continued import check_continued, stored_config, stored_job
from orchestrator.plan.inherited import inherited
from orchestrator.plan.stored import Points, write_points
from orchestrator.plan.trials import (
    CONFIG_FILE,
    IMAGES_FILE,
    POOL_FILE,
    RESULT_FILE,
    STARTS_FOLDER,
    WARMUP_FILE,
    Job,
    Trial,
    plan_trials,
)
from supernet.errors import InputError
from supernet.presets import read_preset


def job_of(folder, **changes) -> Job:
    run = check_run({**DEFINITION, "storage": str(folder), **changes}, "mine")
    return Job(json.loads(json.dumps(resolved(run))), "")


def begin(job: Job, *, warmup: bool, trial: bool) -> dict:
    job.store.write_json(CONFIG_FILE, job.config)
    if warmup:
        job.store.child(STARTS_FOLDER).write_json("warmup.json", {"starts": []})
    if trial:
        job.trial_store(plan_trials(job.run)[0]).write_json(RESULT_FILE, {})
    return stored_config(job.store)


DEFINITION, _ = read_preset("runs", "quickstart")
FRACTIONS = [trial.value for trial in plan_trials(check_run(DEFINITION, "x"))]
ALWAYS = [
    {"mlflow": {"tracking_uri": "http://elsewhere:5000"}},
    {"measure": {"wait_minutes": 1.0}},
    {"workers": {"min": 1, "max": 2}},
    {"checkpoint": {"every_steps": 7}},
    {"max_concurrent": 3},
    {"data": {**DEFINITION["data"], "num_loader_workers": 3}},
    {"warmup": {**DEFINITION["warmup"], "recompute": True, "check_every": 7}},
    {"search": {**DEFINITION["search"], "recompute": True, "check_every": 7}},
]
MORE = {"sweep": {"budget_fractions": [*sorted(set(FRACTIONS)), 0.987]}}
FEWER = {"sweep": {"budget_fractions": [max(FRACTIONS)]}}
TRAIN = {"train": {"num_steps": 77, "batch_size": 64}}
SEED = {"seed": 5}


def test_the_same_sweep_has_no_difference(tmp_path):
    job = job_of(tmp_path)
    assert check_continued(begin(job, warmup=True, trial=True), job) == []


def without(config, keys):
    """Return a configuration as a version would have stored it that did not know some keys yet."""
    plain = json.loads(json.dumps(config))
    for key in keys:
        *sections, last = key.split(".")
        inner = plain
        for section in sections:
            inner = inner[int(section) if section.isdigit() else section]
        del inner[last]
    return plain


def test_a_setting_that_was_not_there_yet_has_its_default(tmp_path):
    """Refused before, with `train.average: None -> 0.0 ... put them back`, which nobody could."""
    job = job_of(tmp_path)
    begin(job, warmup=True, trial=True)
    stored = without(job.config, ["train.average", "warmup.sharing", "gate", "limits", "targets.0.threads"])
    assert check_continued(stored, job) == []
    with pytest.raises(InputError, match=r"\n  train\.average: 0\.0 -> 0\.5\n"):
        check_continued(stored, job_of(tmp_path, train={**DEFINITION["train"], "average": 0.5}))


@pytest.mark.parametrize("change", [*ALWAYS, MORE], ids=str)
def test_what_alters_no_finished_result_may_always_change_and_is_said(change, tmp_path):
    stored = begin(job_of(tmp_path), warmup=True, trial=True)
    found = check_continued(stored, job_of(tmp_path, **change))
    (section,) = change
    assert found
    assert all(line.startswith((f"{section}.", f"{section}:")) for line in found)
    assert all(" -> " in line for line in found)


@pytest.mark.parametrize(
    ("change", "warmup", "trial", "allowed"),
    [
        (SEED, False, False, True),
        (SEED, True, False, False),
        (TRAIN, True, False, True),
        (TRAIN, True, True, False),
        (FEWER, True, False, True),
        (FEWER, True, True, False),
        ({"targets": ["ort-cpu-1t"]}, True, False, True),
    ],
    ids=str,
)
def test_what_has_begun_keeps_its_settings(change, warmup, trial, allowed, tmp_path):
    stored = begin(job_of(tmp_path), warmup=warmup, trial=trial)
    if allowed:
        assert check_continued(stored, job_of(tmp_path, **change))
        return
    with pytest.raises(InputError, match="has begun with other settings") as error:
        check_continued(stored, job_of(tmp_path, **change))
    (section,) = change
    assert f"\n  {section}" in str(error.value)
    assert "put them back to continue it, use another name (--name), or delete" in str(error.value)


@pytest.mark.parametrize(("change", "said"), [
    ({"mode": "shared"}, "mode: 'independent' -> 'shared'"),
    ({"derive": {"recalibration_batches": 7}}, r"derive.recalibration_batches: \w+ -> 7"),
], ids=str)  # fmt: skip
def test_a_warm_up_that_has_ended_keeps_what_decides_whether_its_paths_share_statistics(change, said, tmp_path):
    stored = begin(job_of(tmp_path), warmup=True, trial=False)
    job = Job({**job_of(tmp_path).config, **change}, "")
    assert check_continued(stored, job)
    job.store.write(WARMUP_FILE, b"")
    with pytest.raises(InputError, match=rf"\n  {said}\n"):
        check_continued(stored, job)


def test_a_refusal_says_how_to_keep_a_supernet_that_is_trained(tmp_path):
    """Said before: put it back, or lose the warm-up."""
    stored = begin(job_of(tmp_path), warmup=True, trial=True)
    job_of(tmp_path).store.write(WARMUP_FILE, b"")
    with pytest.raises(InputError, match=r"\(--name\) \(with `from: quickstart` and `num_steps: 0` under `warmup` it"):
        check_continued(stored, job_of(tmp_path, **TRAIN))
    warmup = {"from": "quickstart", "num_steps": 0}
    assert inherited(job_of(tmp_path, name="other", warmup=warmup, **TRAIN).run)


def test_images_may_move_where_those_of_the_sweep_are_noted(tmp_path):
    stored = begin(job_of(tmp_path), warmup=True, trial=True)
    moved = job_of(tmp_path, data={**DEFINITION["data"], "source": "digits"})
    with pytest.raises(InputError, match=r"\n  data\.source: 'scattered-digits' -> 'digits'"):
        check_continued(stored, moved)
    moved.store.write(IMAGES_FILE, b"")  # `require_same_images` compares them
    assert check_continued(stored, moved) == ["data.source: 'scattered-digits' -> 'digits'"]


def test_more_or_fewer_points_may_be_asked_for_and_lists_may_not_follow_them(tmp_path):
    job, point = job_of(tmp_path, sweep={"points": 4}), Trial("ort-cpu-1t-b2", "ort-cpu-1t", "ms", 2.0)
    write_points(job, Points((point,)))
    job.store.write_json(CONFIG_FILE, job.config)
    job.trial_store(point).write_json(RESULT_FILE, {})
    stored = stored_config(job.store)
    for number in (2, 9):
        assert check_continued(stored, job_of(tmp_path, sweep={"points": number})) == [f"sweep.points: 4 -> {number}"]
    with pytest.raises(InputError, match="has begun with other settings"):
        check_continued(stored, job_of(tmp_path, sweep={"budgets_ms": [3.0]}))


def test_a_flipped_bit_in_the_stored_configuration_has_a_remedy_that_loses_nothing(tmp_path):
    job = job_of(tmp_path)
    begin(job, warmup=True, trial=True)
    content = job.store.read(CONFIG_FILE)
    for old, new in ((b'"num_loader_workers"', b'"nul_loader_workers"'), (b'"batch_size": 64', b'"batch_size": 65')):
        job.store.write(CONFIG_FILE, content.replace(old, new))
        with pytest.raises(InputError, match=r"never had the old ones, .*/config\.json is damaged: remove it"):
            check_continued(stored_config(job.store), job)


def test_a_damaged_configuration_names_its_file_and_the_remedy(tmp_path):
    job = job_of(tmp_path)
    for content in (b"", b"{", b"[1]", b'{"a": NaN}', b"\xff"):
        job.store.write(CONFIG_FILE, content)
        with pytest.raises(InputError, match=r"config\.json.*damaged"):
            stored_config(job.store)


def test_a_pool_grows_and_its_judgements_are_made_alike(tmp_path):
    """Said before: nothing; judgements on other images went into one fit with the pool's."""
    job = job_of(tmp_path)
    stored = begin(job, warmup=True, trial=False)
    derive = job.config["derive"]
    larger, others = {**derive, "pool_size": 999}, {**derive, "max_validation_images": 7}
    assert check_continued(stored, job_of(tmp_path, derive=others))
    job.store.write(POOL_FILE, b"")
    assert check_continued(stored, job_of(tmp_path, derive=larger))
    with pytest.raises(InputError, match=r"\n  derive\.max_validation_images: 2000 -> 7\n"):
        check_continued(stored, job_of(tmp_path, derive=others))


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
