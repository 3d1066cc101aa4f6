"""Draws what the benchmark says: what was found under budgets, and how well supernets rank. Read last of all."""

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from benchmarks.macro.truth import Truth, distinct
from supernet.space import Path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLOSE = 0.9
"""Chance is the mean over the networks that use at least this share of a budget."""

CURVES = {
    "tau": "additive model, all",
    "tau_upper_half": "additive model, upper half",
    "tau_within_macs": "additive model, equal size",
    "tau_loss": "a path's own loss, all",
}
"""What is drawn over epochs, by the keys of `ranking`."""

COLOURS = ("#1f6f8b", "#e07a5f", "#3d9970", "#8e6bbf", "#c9a227")
MARKERS = {"none": "o", "one-path": "s", "two-path": "^", "reinforce": "D"}


def draw_found(found: Sequence[Mapping[str, Any]], truth: Mapping[Path, Truth], file: FilePath) -> None:
    """Write a picture: true accuracy over budget; the best there is and chance as lines, what was found as points.

    A point is the mean over the seeds, its bar goes from the worst to the best. Colours tell derivations, markers
    estimators.

    Args:
        found: Rows of stage `found`.
        truth: The table.
        file: Image to write.
    """
    networks = {path: entry for path, entry in truth.items() if path == distinct(path)}
    budgets = [budget * 1e6 for budget in range(30, 86)]
    within = [[entry for entry in networks.values() if entry.num_macs <= budget] for budget in budgets]
    close = [
        [entry for entry in entries if entry.num_macs >= CLOSE * budget]
        for budget, entries in zip(budgets, within, strict=True)
    ]
    figure, axes = _axes()
    millions = [budget / 1e6 for budget in budgets]
    best = [max(entry.accuracy for entry in entries) for entries in within]
    mean = [sum(entry.accuracy for entry in entries) / len(entries) for entries in close]
    axes.plot(millions, best, color="#22303c", linewidth=2, label="best there is")
    axes.plot(millions, mean, color="#9aa5b1", linestyle="--", label="mean of those within 10 % under")
    kinds = list(dict.fromkeys((row["estimator"], row["derivation"]) for row in found))
    colours = dict(zip(dict.fromkeys(derivation for _, derivation in kinds), COLOURS, strict=False))
    for number, (estimator, derivation) in enumerate(kinds):
        name = derivation if estimator == "none" else f"{estimator}, {derivation}"
        name = "random paths, judged" if (estimator, derivation) == ("none", "judged") else name
        rows = [row for row in found if (row["estimator"], row["derivation"]) == (estimator, derivation)]
        places = sorted({row["budget_macs"] for row in rows})
        seeds = [[row["true_accuracy"] for row in rows if row["budget_macs"] == place] for place in places]
        means = [sum(accuracies) / len(accuracies) for accuracies in seeds]
        axes.errorbar(
            [place / 1e6 + 0.55 * (number - (len(kinds) - 1) / 2) for place in places],
            means,
            [
                [mean - min(accuracies) for mean, accuracies in zip(means, seeds, strict=True)],
                [max(accuracies) - mean for mean, accuracies in zip(means, seeds, strict=True)],
            ],
            fmt=MARKERS[estimator],
            markersize=4.5,
            linewidth=1,
            color=colours[derivation],
            label=name,
        )
    axes.set(xlabel="budget (M multiply-adds)", ylabel="accuracy trained alone (%)", ylim=(87.5, 93.4), xlim=(30, 85))
    _save(figure, file)


def draw_epochs(rows: Sequence[Mapping[str, Any]], file: FilePath) -> None:
    """Write a picture: Kendall's tau over the epochs of the warm-up, a point per supernet, a line through the means.

    Args:
        rows: Rows of stage `ranking`; those of the first arm are drawn.
        file: Image to write.
    """
    rows = [row for row in rows if row["arm"] == rows[0]["arm"]]
    epochs = sorted({row["epochs"] for row in rows})
    figure, axes = _axes()
    drawn = [(key, name) for key, name in CURVES.items() if all(key in row for row in rows)]
    for (key, name), colour in zip(drawn, COLOURS, strict=False):
        by_epochs = [[row[key] for row in rows if row["epochs"] == number] for number in epochs]
        axes.plot(epochs, [sum(taus) / len(taus) for taus in by_epochs], color=colour, label=name)
        for number, taus in zip(epochs, by_epochs, strict=True):
            axes.scatter([number] * len(taus), taus, s=26, color=colour, zorder=3)
    axes.axhline(rows[0]["tau_macs"], color="#9aa5b1", linestyle="--", label="multiply-adds, all")
    axes.set(xlabel="epochs of the warm-up", ylabel="Kendall's tau with accuracy trained alone", ylim=(0, 1))
    axes.set_xscale("log", base=2)
    axes.set_xticks(epochs, [f"{number:g}" for number in epochs])
    _save(figure, file)


def _axes() -> tuple["Figure", "Axes"]:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=(9.2, 4.4), layout="constrained")


def _save(figure: "Figure", file: FilePath) -> None:
    from matplotlib import pyplot as plt

    for axes in figure.axes:
        axes.grid(color="#e6e9ed")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(file, dpi=130)
    plt.close(figure)
