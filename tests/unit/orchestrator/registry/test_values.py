"""What the registry keeps of a result as text."""

from dataclasses import replace

from registry_cases import make_result

from orchestrator.registry.values import from_tags, to_tags


def test_tags_keep_a_result_to_the_last_digit() -> None:
    result = make_result("good", cost=1.2, top1=0.93, validation_top1=0.94)
    assert from_tags(to_tags(result), "models:/a/1") == replace(result, model_uri="models:/a/1")
