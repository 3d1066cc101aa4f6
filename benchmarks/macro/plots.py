"""Draws what was found under budgets beside the best there is and what chance gives. Read after everything else."""

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from benchmarks.macro.truth import Truth, distinct
from supernet.space import Path

CLOSE = 0.9
"""Chance is the mean over the networks that use at least this share of a budget."""

COLOURS = ("#1f6f8b", "#e07a5f", "#3d9970", "#8e6bbf", "#c9a227")


def draw_found(found: Sequence[Mapping[str, Any]], truth: Mapping[Path, Truth], file: FilePath) -> None:
    """Write a picture: true accuracy over budget; the best there is and chance as lines, what was found as points.

    Args:
        found: Rows of stage `found`.
        truth: The table.
        file: Image to write.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    networks = {path: entry for path, entry in truth.items() if path == distinct(path)}
    budgets = [budget * 1e6 for budget in range(30, 86)]
    within = [[entry for entry in networks.values() if entry.num_macs <= budget] for budget in budgets]
    close = [
        [entry for entry in entries if entry.num_macs >= CLOSE * budget]
        for budget, entries in zip(budgets, within, strict=True)
    ]
    figure, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    millions = [budget / 1e6 for budget in budgets]
    best = [max(entry.accuracy for entry in entries) for entries in within]
    mean = [sum(entry.accuracy for entry in entries) / len(entries) for entries in close]
    axes.plot(millions, best, color="#22303c", linewidth=2, label="best there is")
    axes.plot(millions, mean, color="#9aa5b1", linestyle="--", label="mean of those within 10 % under")
    kinds = list(dict.fromkeys((row["estimator"], row["derivation"]) for row in found))
    for number, kind in enumerate(kinds):
        rows = [row for row in found if (row["estimator"], row["derivation"]) == kind]
        places = [row["budget_macs"] / 1e6 + 0.35 * (number - (len(kinds) - 1) / 2) for row in rows]
        name = kind[1] if kind[0] == "none" else f"{kind[0]}, {kind[1]}"
        name = "random paths, judged" if kind == ("none", "judged") else name
        accuracies = [row["true_accuracy"] for row in rows]
        axes.scatter(places, accuracies, s=26, color=COLOURS[number % len(COLOURS)], label=name, zorder=3)
    axes.set(xlabel="budget (M multiply-adds)", ylabel="accuracy trained alone (%)", ylim=(87.5, 93.4), xlim=(30, 85))
    axes.grid(color="#e6e9ed")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(file, dpi=130)
    plt.close(figure)
