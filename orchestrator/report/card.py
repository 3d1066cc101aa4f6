"""The model card: what MLflow shows of a registered network, in Markdown.

Why here: made from plain data alone, so that a card can be read and tested without MLflow. Its text stands in
`card.md.j2`. It must not know MLflow, ray or where the numbers come from.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.plan.confusion import Confusion
from orchestrator.plan.result import TrialResult, wilson
from orchestrator.report.rows import (
    accuracy_text,
    bytes_text,
    cost_text,
    count_text,
    found_text,
    limit_text,
    percent_text,
    spread_text,
)

TEMPLATE = Path(__file__).with_name("card.md.j2")
ELSEWHERE = "| on other targets |"
MAX_TEXT = 5000
"""Characters that MLflow keeps of a description."""
ROOM = 400
"""Of them left free for the row of `with_other_targets`."""


def version_card(result: TrialResult, about: Mapping[str, Any], confusion: Confusion | None) -> str:
    """Return the card of one registered network; of many classes, those that are told worst apart.

    Args:
        result: With its `model_uri`.
        about: What `preprocessing.json` holds.
        confusion: Of the delivered file on the test split, where it is known.
    """
    scores = [] if confusion is None else confusion.scores
    model, version = result.model_uri.removeprefix("models:/").split("/")
    values = {
        "result": result,
        "about": about,
        "confusion": confusion,
        "worst": sorted(scores, key=lambda score: (score.recall is None, score.recall or 0.0)),
        "model": model,
        "version": version,
        "size": "x".join(map(str, about["input_size"])),
    }
    return _fitting("version", values, len(about["class_names"]))


def with_other_targets(card: str, latencies: Mapping[str, float]) -> str:
    """Return the card of a version with a row of its milliseconds on other targets, which are known last.

    Args:
        card: From `version_card`, with such a row or without.
        latencies: By the name of the target.
    """
    lines = [line for line in card.splitlines() if not line.startswith(ELSEWHERE)]
    told = ", ".join(f"{target}: {cost_text(latency_ms, 'ms')}" for target, latency_ms in latencies.items())
    place = next((number for number, line in enumerate(lines) if line.startswith("| predicted; budget |")), None)
    if place is None:
        return card  # of another maker
    if latencies and len(told) < ROOM - len(ELSEWHERE) - 4:
        lines.insert(place, f"{ELSEWHERE} {told} |")
    return "\n".join(lines) + "\n"


def model_card(name: str, networks: Sequence[tuple[str, Sequence[str], TrialResult]]) -> str:
    """Return the card of a registered model.

    Args:
        name: Of the model.
        networks: Of each version its number, its aliases and its result, in the order in which they are shown.
    """
    return _fitting("model", {"name": name, "networks": networks, "result": networks[0][2]}, len(networks))


def is_card(text: str | None, model: str) -> bool:
    """Whether a description is none as yet or begins as these cards do: with the model's name as its heading."""
    return not text or text.startswith((f"# {model}\n", f"# {model}, "))


def _fitting(kind: str, values: Mapping[str, Any], num_rows: int) -> str:
    """Return the text with as many rows of its table as MLflow keeps."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters |= {"plain": plain_text, "percent": percent_text, "count": count_text, "bytes": bytes_text}
    environment.globals |= {
        "accuracy": accuracy_text,
        "cost": cost_text,
        "found": found_text,
        "limit": limit_text,
        "spread": spread_text,
        "wilson": wilson,
    }
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    for rows in (*range(min(num_rows, 30), 0, -5), 0):
        text = template.render(kind=kind, rows=rows, **values).strip() + "\n"
        if len(text) <= MAX_TEXT - ROOM:
            break
    return text[:MAX_TEXT]


def plain_text(text: str, length: int = 60) -> str:
    """Return a text of the user's, such as the name of a class, so that Markdown takes nothing in it for itself."""
    cut = " ".join(text.split())
    cut = cut if len(cut) <= length else f"{cut[: length - 1]}…"
    return re.sub(r"([\\`*_{}\[\]<>()#|!~&$])", r"\\\1", cut)
