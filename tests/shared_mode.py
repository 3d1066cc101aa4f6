"""Definitions of sweeps in `shared` mode, made from some whose searches train weights."""

from typing import Any

from orchestrator.plan.check import TRAINING


def in_shared_mode(definition: dict[str, Any]) -> dict[str, Any]:
    """Return a sweep's definition in `shared` mode, without the settings that nothing would read there."""
    search = {key: value for key, value in definition["search"].items() if key not in TRAINING}
    return {**definition, "mode": "shared", "search": search}
