"""What the registry keeps of a result as text."""

from dataclasses import fields, replace

import pytest
from registry_cases import make_result
from repository import ROOT

from orchestrator.plan.result import TrialResult, outward_name
from orchestrator.registry.values import from_tags, to_tags
from supernet.errors import InputError


def test_tags_keep_a_result_to_the_last_digit() -> None:
    result = make_result("good", cost=1.2, top1=0.93, validation_top1=0.94)
    assert from_tags(to_tags(result), "models:/a/1") == replace(result, model_uri="models:/a/1")


def test_an_edited_tag_is_refused_by_its_version_with_what_to_do() -> None:
    tags = to_tags(make_result("good", cost=1.2, top1=0.93, validation_top1=0.94)) | {"top1": "high"}
    with pytest.raises(
        InputError, match=r"^tags of models:/a/1\.top1: 'high'.*put the tag back, or delete this version"
    ):
        from_tags(tags, "models:/a/1")


@pytest.mark.parametrize("unit", ["ms", "1"])
def test_delivery_names_every_metric(unit: str) -> None:
    page = (ROOT / "docs" / "delivery.md").read_text().partition("\nMetrics are ")[2].partition("\n\n")[0]
    metrics = [field for field in fields(TrialResult) if field.metadata.get("mlflow") == "metric"]
    assert [name for field in metrics if f"`{(name := outward_name(field, unit))}`" not in page] == []
