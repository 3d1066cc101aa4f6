"""Draws an architecture the way the paper draws its networks: a row of boxes, one per block, into a PNG or an SVG.

Why apart from `cli.arch`: drawing is geometry. Height shows the kernel, width the expansion, colour both; what
is written inside, below and above is the operator, the shape of its output and the resolution.
"""

from dataclasses import dataclass
from io import StringIO
from itertools import accumulate, groupby
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from supernet.cost import BlockCost, block_costs, count_cost
from supernet.space import Architecture, Space

# One hue per kernel size, as in the paper's figure; the darker shade is the larger expansion.
KERNEL_COLOURS = {1: "#cfd4da", 3: "#9ecae1", 5: "#a1d99b", 7: "#fdae6b"}
DARKER = {"#cfd4da": "#adb5bd", "#9ecae1": "#4f9bcb", "#a1d99b": "#52ab5c", "#fdae6b": "#f0842e"}
OTHER_COLOUR, LINE_COLOUR = "#d4c5e8", "#495057"
GAP, LARGE_EXPANSION = 0.42, 5
FULL_KERNEL = 7
SVG_METADATA = ("Creator", "Date", "Format", "Type")
"""What matplotlib would write into each drawing besides."""


@dataclass(frozen=True)
class Box:
    """One block as it is drawn; lengths in units of a plain block's width."""

    label: str
    below: str
    width: float
    height: float
    colour: str
    bold: bool


def draw_network(space: Space, architecture: Architecture, file: Path) -> None:
    """Draw a network into a PNG file.

    Args:
        space: Space of the architecture.
        architecture: What to draw; dropped blocks are left out, as in the paper.
        file: Where to write.
    """
    _figure(space, architecture).savefig(file, format="png", facecolor="white")


def network_svg(space: Space, architecture: Architecture, name: str) -> str:
    """Return the same drawing as an element of a page; all have one height and one scale.

    Args:
        space: Space of the architecture.
        architecture: What to draw.
        name: Of the drawing: what its parts are called by begins with it, so that no two on a page share a name.
    """
    content = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        _figure(space, architecture).savefig(content, format="svg", metadata=dict.fromkeys(SVG_METADATA))
    text = content.getvalue()
    return text[text.index("<svg") :]


def _figure(space: Space, architecture: Architecture) -> Figure:
    blocks = block_costs(space, architecture)
    boxes = [_box(block) for block in blocks]
    *lefts, end = accumulate((box.width + GAP for box in boxes), initial=0.0)
    total = end - GAP
    figure = Figure(figsize=(max(5.0, 0.46 * total + 0.6), 3.2), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    for left, box in zip(lefts, boxes, strict=True):
        _draw_box(axes, left, box)
    for left in lefts[1:]:
        arrow = {"arrowstyle": "-|>", "color": LINE_COLOUR, "lw": 0.9, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}
        axes.annotate("", xy=(left - 0.03, 0), xytext=(left - GAP + 0.03, 0), arrowprops=arrow)
    _draw_resolutions(axes, blocks, boxes, lefts)
    counts = count_cost(space, architecture)
    axes.set_title(
        f"{space.name}   {counts['num_params'] / 1e6:.2f} M parameters, {counts['num_macs'] / 1e6:.1f} M MACs, "
        f"input {'x'.join(map(str, space.input_size))}",
        loc="left",
        fontsize=9,
        color=LINE_COLOUR,
    )
    axes.set_xlim(-0.3, total + 0.3)
    axes.set_ylim(-2.75, 2.2)
    axes.axis("off")
    FigureCanvasAgg(figure)
    return figure


def _box(block: BlockCost) -> Box:
    """Height by kernel size, width by expansion; what has neither is a plain box."""
    args = dict(block.op.args)
    kernel, expansion = int(args.get("kernel_size", 0)), float(args.get("expand_ratio", 1))
    colour = KERNEL_COLOURS.get(kernel, OTHER_COLOUR)
    large = expansion >= LARGE_EXPANSION
    below = "x".join(map(str, block.out_shape))
    size = f" {kernel}x{kernel}" if kernel else ""
    if block.op.name == "mbconv":
        label = f"MB{expansion:.3g}{size}{' SE' if args.get('se_ratio') else ''}"
    elif block.op.name == "classifier":
        label, kernel = "Pool, FC", 3
    else:
        label = f"{block.op.name.capitalize()}{size}" if kernel else block.op.short
    height = 1.7 + 1.1 * min(max(kernel, 1), FULL_KERNEL) / FULL_KERNEL
    return Box(label, below, 0.9 if large else 0.66, height, DARKER[colour] if large else colour, large)


def _draw_box(axes: Axes, left: float, box: Box) -> None:
    patch = FancyBboxPatch(
        (left + 0.05, -box.height / 2 + 0.05),
        box.width - 0.1,
        box.height - 0.1,
        boxstyle="round,pad=0.05,rounding_size=0.09",
        facecolor=box.colour,
        edgecolor=LINE_COLOUR,
        linewidth=0.7,
    )
    axes.add_patch(patch)
    middle = left + box.width / 2
    weight = "bold" if box.bold else "normal"
    axes.text(middle, 0, box.label, rotation=90, ha="center", va="center", fontsize=8, weight=weight)
    axes.text(middle, -1.55, box.below, rotation=90, ha="center", va="top", fontsize=6.5, color=LINE_COLOUR)


def _draw_resolutions(axes: Axes, blocks: tuple[BlockCost, ...], boxes: list[Box], lefts: list[float]) -> None:
    """Bracket the runs of blocks that share an output resolution."""
    runs = groupby(range(len(blocks)), key=lambda i: blocks[i].out_shape[1:])
    for resolution, members in runs:
        indices = list(members)
        if not resolution:
            continue
        left, right = lefts[indices[0]], lefts[indices[-1]] + boxes[indices[-1]].width
        axes.plot([left, left, right, right], [1.6, 1.72, 1.72, 1.6], color=LINE_COLOUR, lw=0.8)
        text = "x".join(map(str, resolution))
        axes.text((left + right) / 2, 1.8, text, ha="center", va="bottom", fontsize=7.5, color=LINE_COLOUR)
