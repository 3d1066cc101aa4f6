"""A sweep to report on, and what its page holds."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from orchestrator.plan.result import TrialResult


def done(trial: str, target: str, cost: float, top1: float, **more: Any) -> TrialResult:
    return TrialResult(
        sweep="night",
        trial=trial,
        target=target,
        objective="budget",
        seed=0,
        budget=cost * 1.1,
        predicted_cost=cost * 0.98,
        cost=cost,
        cost_error=cost * 0.02,
        top1=top1,
        num_params=123456,
        num_macs=7890123,
        architecture="k5e6-k3e3-skip",
        model_uri=f"models:/night-{target}/1",
        **more,
    )


def weighted(trial: str, weight: float, cost: float, top1: float) -> TrialResult:
    return replace(done(trial, "ort", cost, top1), objective="add_linear", budget=None, latency_weight=weight)


FAILED = TrialResult(
    sweep="night",
    trial="lost",
    target="ort",
    objective="budget",
    seed=0,
    budget=4.0,
    status="failed",
    reason="board <lost>",
)


REJECTED = done("off", "ort", 0.5, 0.99, status="rejected", reason="30 % slower than <predicted>")


RESULTS = [
    FAILED,
    done("slow", "ort", 3.0, 0.9, doubt="measured 9 % above prediction"),
    done("best", "ort", 2.0, 0.95),
    done("fast", "ort", 1.0, 0.8),
    done("only", "torch", 9.0, 0.7),
]


COUNTED = replace(
    done("counted", "macs", 4.5e6, 0.85),
    unit="1",
    budget=5e6,
    predicted_cost=4.5e6,
    cost_error=0.0,
    architecture="k3e3-skip-skip",
    model_uri="",
)


PUBLISHED = replace(done("published", "pixel1", 80.0, 0.75), predicted_cost=80.0, cost_error=0.0)


class Page(HTMLParser):
    """Collects tags that would fetch something, table cells and visible text outside scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.rows = 0
        self.text = ""
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.inside = tag
        self.rows += tag == "tr"
        if tag == "link" or names.get("src"):
            self.fetched.append(tag)

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.text += data


def figures(html: str) -> list[str]:
    return re.findall(r"Plotly\.newPlot\(\s*\"[^\"]+\",\s*(\[.*?\]),\s*\{", html, flags=re.DOTALL)
