"""What a network took images of each class for, as a picture.

Why here: it stands beside the model card. It must not know MLflow, ray or how the counts were made.
"""

from pathlib import Path

import numpy as np

from orchestrator.plan.confusion import Confusion

MAX_NAMED, MAX_WRITTEN = 60, 20
"""Classes up to which axes have names, and cells numbers."""


def draw_confusion(confusion: Confusion, file: Path) -> None:
    """Draw the counts into a PNG file: a row per class, a column per answer, each row shaded by its share."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = len(confusion.class_names)
    counts = np.zeros((size, size), int)
    for label, answer, number in confusion.counts:
        counts[label, answer] = number
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    inches = min(14.0, 2.5 + 0.3 * size)
    figure = Figure(figsize=(inches, inches), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    ticks = range(size) if size <= MAX_NAMED else []
    names = [confusion.class_names[i][:24] for i in ticks]
    # Names come from folders: a dollar sign in one begins no formula.
    axes.set_xticks(ticks, names, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(ticks, names, fontsize=8, parse_math=False)
    if size <= MAX_WRITTEN:
        for label, answer, number in confusion.counts:
            colour = "white" if shares[label, answer] > 0.5 else "black"
            axes.text(answer, label, str(number), ha="center", va="center", fontsize=8, color=colour)
    figure.savefig(file, format="png")
