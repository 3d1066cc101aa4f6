"""The model card says what a reader needs, whatever the classes are called, in what MLflow keeps."""

from dataclasses import replace
from typing import Any

import pytest
from registry_cases import make_result

from orchestrator.plan.confusion import confusion_of
from orchestrator.report.card import MAX_TEXT, is_card, model_card, plain_text, version_card, with_other_targets

RESULT = make_result("t", model_uri="models:/night-ort-cpu-1t/3", file="model.onnx", file_sha256="ab" * 32)
RESULT = replace(RESULT, file_bytes=12345, cost_median=1.3, top5=0.99)


def about(*names: str) -> dict[str, Any]:
    kept = {"class_names": list(names), "input_size": [1, 8, 8], "resize": "squeeze", "batch": 1, "num_threads": 1}
    kept |= {"precision": "fp32", "runtime": "onnxruntime", "options": {}}
    return kept | {"environment": {"OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}}


def test_a_card_says_what_was_measured_and_how_to_load_it() -> None:
    confusion = confusion_of("digits", ("cat", "dog", "emu"), {(0, 0): 8, (0, 1): 2, (1, 1): 5})
    card = version_card(RESULT, about("cat", "dog", "emu"), confusion)
    for said in (
        "# night-ort-cpu-1t, version 3\n",
        "Tells 3 classes of images apart on `ort-cpu-1t`, searched for a budget of 1.500 ms.",
        "| top-1, test split | 91.2 % (88-94), 95 % interval, 360 images |",
        "| top-5, test split | 99.0 % (97.3-99.6) |",
        "| on ort-cpu-1t | 1.250 ms ± 0.01, median 1.300 ms; batch 1, 1 thread, fp32, onnxruntime |",
        "| file | `model.onnx`, 12.3 kB, SHA-256 `abababababababab…` |",
        "Images from `digits`.\nFingerprint `0123456789abcdef`; input 1x8x8, squeezed to size.",
        "| cat | 10 | 80.0 % | 49.0 % to 94.3 % | 100.0 % |",
        "| emu | 0 | - | - | - |",
        "Most often confused: cat taken for dog (2 of 10 images).",
        'mlflow.pyfunc.load_model("models:/night-ort-cpu-1t/3")',
        "onepath pull night --target ort-cpu-1t --version 3 --out net",
        "```\nenv OMP_NUM_THREADS=1 GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python ...\n```",
        "**In doubt:** export differs by 1e-3",
    ):
        assert said in card, said


def test_what_is_not_known_is_left_out() -> None:
    counted = replace(RESULT, unit="1", cost=5e6, cost_error=0.0, budget=None, file="", data="", doubt="", top5=None)
    card = version_card(counted, about("a", "b"), None)
    assert "cost was counted, not measured" in card
    assert "| on ort-cpu-1t | 5 M |" in card
    assert "Fingerprint `not known`" in card
    for absent in ("Accuracy per class", "In doubt", "confus", "None", "SHA-256", "for a budget", "top-5"):
        assert absent not in card, absent


def test_options_are_told_and_an_environment_where_there_is_one() -> None:
    card = version_card(RESULT, about("a", "b") | {"options": {"channels_last": True}, "environment": {}}, None)
    assert "fp32, onnxruntime, channels_last: True |" in card
    assert "env " not in card


def test_a_published_latency_is_not_told_as_measured() -> None:
    published = replace(RESULT, cost=80.0, predicted_cost=80.0, cost_error=0.0, cost_median=80.0)
    card = version_card(published, about("a", "b"), None)
    assert "| on ort-cpu-1t | 80.0 ms (published) |" in card
    assert "latency is a published figure, not measured" in card
    assert "counted or published for the target" in model_card("m", [("1", [], published)])


def test_other_targets_get_a_row_when_they_are_known() -> None:
    names = tuple(f"{i:040d}" for i in range(1000))
    card = version_card(RESULT, about(*names), confusion_of("digits", names, {(i, i): 1 for i in range(1000)}))
    both = with_other_targets(card, {"torch-cpu-1t": 2.5, "ort-cpu-int8-1t": 0.75})
    assert "onnxruntime |\n| on other targets | torch-cpu-1t: 2.500 ms, ort-cpu-int8-1t: 0.750 ms |\n| pred" in both
    assert len(both) <= MAX_TEXT
    assert with_other_targets(both, {"torch-cpu-1t": 3.0}).count("\n| on other targets |") == 1
    assert with_other_targets(both, {}) == card
    assert with_other_targets(card, {f"target-{i}": 1.0 for i in range(100)}) == card, "MLflow keeps no more"
    assert is_card(both, "night-ort-cpu-1t")


@pytest.mark.parametrize("num_classes", [2, 30, 1000])
@pytest.mark.parametrize("length", [1, 40, 500])
def test_a_card_is_no_longer_than_mlflow_keeps_and_shows_the_worst_classes(num_classes: int, length: int) -> None:
    names = tuple(f"{i:0{length}d}" for i in range(num_classes))
    right = {(i, i): 10 + i for i in range(num_classes)} | {(1, 0): 100}
    card = version_card(RESULT, about(*names), confusion_of("digits", names, right))
    assert len(card) <= MAX_TEXT
    assert "## Limits" in card
    assert f"| {plain_text(names[1])} | 111 |" in card
    assert ("lowest of 1000" in card) == (num_classes == 1000)


def test_names_of_users_are_text_in_markdown() -> None:
    assert plain_text("a|b\n<script>*x*") == r"a\|b \<script\>\*x\*"
    card = version_card(RESULT, about("a|b", "c"), confusion_of("x", ("a|b", "c"), {(0, 1): 2}))
    assert r"| a\|b | 2 |" in card


def test_a_model_lists_its_networks() -> None:
    networks = [(str(i), ["best"] if i == 2 else [], replace(RESULT, trial=f"t{i}")) for i in range(1, 3)]
    card = model_card("night-ort-cpu-1t", networks)
    assert card.startswith("# night-ort-cpu-1t\n")
    assert "| 2 | best | 91.2 % (88-94) | 1.250 ms | 1.500 ms | 1.23 k |" in card
    assert is_card(card, "night-ort-cpu-1t")
    assert is_card(None, "night-ort-cpu-1t")
    assert is_card(version_card(RESULT, about("a"), None), "night-ort-cpu-1t")
    assert not is_card("# night-ort-cpu-1t-int8\n", "night-ort-cpu-1t")
    many = model_card("night-ort-cpu-1t", networks * 100)
    assert "more are not shown" in many
    assert len(many) <= MAX_TEXT
