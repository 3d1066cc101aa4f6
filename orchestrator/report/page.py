"""A sweep as one interactive page that needs no network and no server.

Why here: the page is what is sent around and looked at years later, so it holds its own scripts and all its numbers.
Its text stands in `page.html.j2`. It must not know MLflow, ray or where rows come from.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from orchestrator.plan.curves import Point
from orchestrator.plan.result import TrialResult, columns
from orchestrator.report.rows import (
    BASELINE_COLOUR,
    BUDGET_COLOUR,
    FRONT_COLOUR,
    OTHER_COLOUR,
    Row,
    accuracy_text,
    asked_text,
    cost_label,
    cost_text,
    count_text,
    found_text,
    percent_text,
    spread_text,
    tick_text,
)

TEMPLATE = Path(__file__).with_name("page.html.j2")
SYMBOLS = {"baseline": "diamond", "rejected": "x-thin-open"}
TARGET_COLOURS = ("#1f6f8b", "#e07a5f", "#3d9970", "#8e6bbf", "#c9a227", "#d1495b", "#5c6f7b", "#2f4b7c")


@dataclass(frozen=True)
class PageTable:
    """A table of the page.

    Attributes:
        heading: Above it.
        grid: Rows of cells, all equally long; the first is the heading, the first column names the rows.
        notes: Lines below it.
        marked: Cells (row, column) that stand out.
    """

    heading: str
    grid: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    marked: Collection[tuple[int, int]] = ()


def report_html(
    rows: Sequence[Row],
    *,
    title: str = "onepath sweep",
    drawings: Mapping[str, str] | None = None,
    curves: Mapping[str, Sequence[Point]] | None = None,
    tables: Sequence[PageTable] = (),
    sections: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the page: fronts with budgets, their architectures, predicted against measured latency, searches, trials.

    Costs that are counted or published are no more than predicted: the second figure leaves them out, and is left out
    where all are.

    Args:
        rows: From `front_rows`.
        title: Heading and title of the page.
        drawings: SVG of architectures by trial: those of the fronts are shown; a click on a point leads to its own.
        curves: How the searches went, by trial.
        tables: Further tables.
        sections: Further (heading, text) pairs; the text is shown as it stands.
    """
    from jinja2 import Environment, StrictUndefined

    targets = list(dict.fromkeys(row.result.target for row in rows))
    figures = [_front_figure(target, [row for row in rows if row.result.target == target]) for target in targets]
    drawn_rows = [row for row in rows if row.on_front and row.result.trial in (drawings or {})]
    searches = _search_figures(rows, curves or {})
    predicted = [
        row
        for row in rows
        if row.is_drawn and not row.result.baseline and row.result.predicted_cost and row.result.measured
    ]
    if predicted:
        figures.append(_prediction_figure(predicted))
    figures += searches
    drawn = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0, config={"displayModeBar": False})
        for number, figure in enumerate(figures)
    ]
    searched = [row for row in rows if not row.result.baseline]
    num_rejected = sum(row.result.status == "rejected" for row in searched)
    num_drawn, on_front = sum(row.is_drawn for row in searched), sum(row.on_front for row in searched)
    num_known = len(rows) - len(searched)
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        summary=f"{len(searched)} trials on {len(targets)} targets: {num_drawn} finished, {on_front} on a front"
        + (f", {num_rejected} rejected" if num_rejected else "")
        + (f"; {num_known} baselines beside them" if num_known else ""),
        fronts=drawn[: len(targets)],
        comparison="".join(drawn[len(targets) : len(drawn) - len(searches)]),
        searches=drawn[len(drawn) - len(searches) :],
        drawings=drawings,
        networks={target: [row for row in drawn_rows if row.result.target == target] for target in targets},
        caption=_caption,
        columns=columns([row.result for row in rows], wide=True),
        rows=rows,
        tables=tables,
        sections=sections,
    )


def _front_figure(target: str, rows: Sequence[Row]) -> Any:
    """One target: points, front as a step line, budgets as dotted lines."""
    import plotly.graph_objects as go

    done = [row for row in rows if row.is_drawn]
    unit = rows[0].result.unit
    figure = go.Figure()
    fair, front = [row for row in done if row.result.done], [row for row in done if row.on_front]
    if front:
        end = 1.08 * max([row.place[0] for row in done] + [row.result.budget or 0.0 for row in rows])
        figure.add_scatter(
            x=[*(row.place[0] for row in front), end],
            y=[*(100 * row.place[1] for row in front), 100 * front[-1].place[1]],
            mode="lines",
            line={"shape": "hv", "color": FRONT_COLOUR, "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
    for name, members, colour in (
        ("on the front", front, FRONT_COLOUR),
        ("beaten by another trial", [r for r in fair if not r.on_front and not r.result.baseline], OTHER_COLOUR),
        ("baseline", [row for row in fair if row.result.baseline], BASELINE_COLOUR),
        ("rejected", [row for row in done if not row.result.done], BUDGET_COLOUR),
    ):
        figure.add_scatter(
            x=[row.place[0] for row in members],
            y=[100 * row.place[1] for row in members],
            error_x={"type": "data", "array": [row.spread[0] for row in members], "thickness": 1.2},
            error_y={
                "type": "data",
                "array": [100 * row.spread[2] for row in members],
                "arrayminus": [100 * row.spread[1] for row in members],
                "thickness": 1.2,
            },
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": SYMBOLS.get(name, "circle")},
            name=name,
            text=[_hover(row) for row in members],
            customdata=[row.result.trial for row in members],
            hoverinfo="text",
        )
    for budget in sorted({row.result.budget for row in rows if row.result.budget is not None}):
        figure.add_vline(
            budget,
            line={"color": BUDGET_COLOUR, "dash": "dot", "width": 1.5},
            annotation={"text": tick_text(budget, unit), "font": {"color": BUDGET_COLOUR, "size": 11}},
            annotation_position="top",
        )
    _style(figure, f"{escape(cost_label(rows))}, dotted: budgets", "top-1 on the test split (%)")
    figure.update_layout(title={"text": escape(target), "font": {"size": 15}, "x": 0, "xref": "paper"})
    return figure


def _prediction_figure(rows: Sequence[Row]) -> Any:
    """All targets that are measured, on logarithmic axes: on the dotted line the latency table was right."""
    import plotly.graph_objects as go

    figure = go.Figure()
    targets = list(dict.fromkeys(row.result.target for row in rows))
    for number, target in enumerate(targets):
        members = [row for row in rows if row.result.target == target]
        figure.add_scatter(
            x=[row.result.predicted_cost for row in members],
            y=[row.place[0] for row in members],
            error_y={"type": "data", "array": [row.spread[0] for row in members], "thickness": 1.2},
            mode="markers",
            marker={"color": TARGET_COLOURS[number % len(TARGET_COLOURS)], "size": 9},
            name=target,
            customdata=[row.result.trial for row in members],
            text=[_hover(row) for row in members],
            hoverinfo="text",
        )
    values = [cost for row in rows for cost in (row.result.predicted_cost or row.place[0], row.place[0])]
    ends = [0.8 * min(values), 1.25 * max(values)]
    line = {"color": OTHER_COLOUR, "dash": "dot", "width": 1.5}
    figure.add_scatter(x=ends, y=ends, mode="lines", line=line, name="predicted = measured", hoverinfo="skip")
    _style(figure, "predicted latency (ms)", "measured latency (ms)")
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    return figure


def _search_figures(rows: Sequence[Row], curves: Mapping[str, Sequence[Point]]) -> list[Any]:
    """How the searches went: expected cost as a share of the budget, else of what it began at, and entropy of alpha;
    none without curves.
    """
    import plotly.graph_objects as go

    drawn = [row.result for row in rows if curves.get(row.result.trial)]
    limited = any(result.budget for result in drawn)
    targets = list(dict.fromkeys(row.result.target for row in rows))
    costs, entropies, named = go.Figure(), go.Figure(), set[str]()
    for result in drawn:
        points, colour = curves[result.trial], TARGET_COLOURS[targets.index(result.target) % len(TARGET_COLOURS)]
        whole = result.budget if limited else points[0].expected_cost
        shares = [(costs, [point.expected_cost / whole for point in points])] if whole else []  # not where it failed
        for figure, values in (*shares, (entropies, [point.entropy for point in points])):
            figure.add_scatter(
                x=[point.step for point in points],
                y=values,
                mode="lines",
                line={"color": colour, "width": 1.6},
                name=result.target,
                legendgroup=result.target,
                showlegend=result.target not in named,
                customdata=[result.trial] * len(points),
                hovertemplate="%{customdata}, step %{x}: %{y:.3f}<extra></extra>",
            )
        named.add(result.target)
    costs.add_hline(1.0, line={"color": BUDGET_COLOUR, "dash": "dot", "width": 1.5})
    _style(costs, "step", "expected cost / budget" if limited else "expected cost / that at the start")
    _style(entropies, "step", "entropy of alpha (nats)")
    return [costs, entropies] if drawn else []


def _caption(row: Row) -> str:
    return _listed(f"{percent_text(row.result.top1)} at {found_text(row.result)}", asked_text(row.result))


def _listed(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _named(result: TrialResult) -> str:
    """Return which network it is, or why it counts for nothing."""
    return (
        escape(result.baseline or result.architecture) if result.done else f"{result.status}: {escape(result.reason)}"
    )


def _style(figure: Any, x_title: str, y_title: str) -> None:
    axis = {"gridcolor": "#e6e9ed", "linecolor": "#8a96a3", "zeroline": False, "ticks": "outside"}
    figure.update_layout(
        template="none",
        height=420,
        margin={"l": 65, "r": 20, "t": 55, "b": 100},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#22303c"},
        legend={"orientation": "h", "y": -0.27, "yanchor": "top", "x": 0},
        hoverlabel={"align": "left"},
        xaxis={**axis, "title": {"text": x_title}},
        yaxis={**axis, "title": {"text": y_title}},
    )


def _hover(row: Row) -> str:
    result = row.result
    images = f" on {result.num_test_images} images" if result.num_test_images else ""
    cost = f"<b>{found_text(result)}</b>{spread_text(result.cost_error)}"
    lines = [
        escape(result.trial),
        f"<b>{accuracy_text(result, 'top1')}</b>{images} at {cost}",
        _listed(f"predicted {cost_text(result.predicted_cost, result.unit)}", asked_text(result)),
        f"{count_text(result.num_params)} parameters, {count_text(result.num_macs)} MACs",
        _named(result),
        "" if result.baseline else escape(result.model_uri or "not registered"),
    ]
    return "<br>".join(lines)
