"""Devices on nodes of their own: one dies in mid-measurement, one never comes."""

import pytest
from ray_play import play


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_device_that_dies_is_asked_again_and_one_that_never_comes_is_reported(tmp_path):
    found = play("device", tmp_path)
    assert found["latency_ms"] == pytest.approx(1.5)
    assert found["asked_before_the_cut"] >= 1
    assert found["asked"] > found["asked_before_the_cut"] + 1, "it was not measured anew"
    assert "no node of the cluster measured target 'nowhere'" in found["missing"]
    assert "onepath device serve --target nowhere" in found["missing"]
