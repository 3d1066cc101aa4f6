"""A sweep as one interactive page that needs no network and no server.

Why here: the page is what is sent around and looked at years later, so it holds its own scripts and all its numbers.
It must not know MLflow, ray or where rows come from.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from orchestrator.report.rows import (
    BUDGET_COLOUR,
    FRONT_COLOUR,
    OTHER_COLOUR,
    cost_label,
    cost_text,
    count_text,
    percent_text,
    tick_text,
)

TARGET_COLOURS = ("#1f6f8b", "#e07a5f", "#3d9970", "#8e6bbf", "#c9a227", "#d1495b", "#5c6f7b", "#2f4b7c")
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #22303c; margin: 2rem auto; max-width: 78rem; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p.summary { color: #5b6875; margin: 0; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
.panels > div { min-width: 0; overflow: hidden; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .87rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #e6e9ed; text-align: right; white-space: nowrap; }
th { color: #5b6875; font-weight: 600; border-bottom: 2px solid #cfd6dd; }
.text { text-align: left; } td.wrap { white-space: normal; overflow-wrap: anywhere; min-width: 12rem; }
td { font-variant-numeric: tabular-nums; } tr.front td { font-weight: 600; } tr.failed td { color: #d1495b; }
code, pre { font-family: ui-monospace, monospace; font-size: .83rem; }
pre { background: #f4f6f8; padding: .8rem; overflow-x: auto; }
"""

# A figure is drawn before its neighbours stand; once all do, each takes the width that is left to it.
FIT = "<script>window.addEventListener('load', () => window.dispatchEvent(new Event('resize')));</script>"


def report_html(
    rows: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    title: str = "onepath sweep",
    sections: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write the page: fronts with budgets, predicted against measured latency, the table, further sections.

    Costs that are counted were not predicted: the second figure leaves them out, and is left out where all are.

    Args:
        rows: From `front_rows`.
        path: The HTML file to write.
        title: Heading and title of the page.
        sections: Further (heading, text) pairs; the text is shown as it stands.

    Returns:
        The path.
    """
    targets = list(dict.fromkeys(row["target"] for row in rows))
    done = [row for row in rows if row["latency_ms"] is not None and row["top1"] is not None]
    figures = [_front_figure(target, [row for row in rows if row["target"] == target]) for target in targets]
    predicted = [row for row in done if row["predicted_ms"] and row["unit"] == "ms"]
    if predicted:
        figures.append(_prediction_figure(predicted))
    drawn = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0, config={"displaylogo": False, "responsive": True})
        for number, figure in enumerate(figures)
    ]
    on_front = sum(row["on_front"] for row in rows)
    summary = f"{len(rows)} trials on {len(targets)} targets: {len(done)} finished, {on_front} on a front"
    more = "".join(f"<h2>{escape(heading)}</h2><pre>{escape(text)}</pre>" for heading, text in sections)
    panels = "".join(f"<div>{html}</div>" for html in drawn[: len(targets)])
    comparison = "".join(f"<h2>Predicted against measured latency</h2>{html}" for html in drawn[len(targets) :])
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f'<h1>{escape(title)}</h1><p class="summary">{summary}</p>'
        f'<h2>Front of each target</h2><div class="panels">{panels}</div>{comparison}'
        f"<h2>All trials</h2>{_table(rows)}{more}{FIT}</body></html>\n"
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _front_figure(target: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """One target: points, front as a step line, budgets as dotted lines."""
    import plotly.graph_objects as go

    done = [row for row in rows if row["latency_ms"] is not None and row["top1"] is not None]
    unit = rows[0]["unit"]
    figure = go.Figure()
    front = [row for row in done if row["on_front"]]
    if front:
        end = 1.08 * max([row["latency_ms"] for row in done] + [row["budget_ms"] or 0.0 for row in rows])
        figure.add_scatter(
            x=[*(row["latency_ms"] for row in front), end],
            y=[*(100 * row["top1"] for row in front), 100 * front[-1]["top1"]],
            mode="lines",
            line={"shape": "hv", "color": FRONT_COLOUR, "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
    for name, members, colour in (
        ("on the front", front, FRONT_COLOUR),
        ("beaten by another trial", [row for row in done if not row["on_front"]], OTHER_COLOUR),
    ):
        figure.add_scatter(
            x=[row["latency_ms"] for row in members],
            y=[100 * row["top1"] for row in members],
            error_x={"type": "data", "array": [row["latency_error_ms"] or 0.0 for row in members], "thickness": 1.2},
            mode="markers",
            marker={"color": colour, "size": 10},
            name=name,
            text=[_hover(row) for row in members],
            hoverinfo="text",
        )
    for budget in sorted({row["budget_ms"] for row in rows if row["budget_ms"] is not None}):
        figure.add_vline(
            budget,
            line={"color": BUDGET_COLOUR, "dash": "dot", "width": 1.5},
            annotation={"text": tick_text(budget, unit), "font": {"color": BUDGET_COLOUR, "size": 11}},
            annotation_position="top",
        )
    _style(figure, f"{escape(cost_label(target, unit))}, dotted: budgets", "top-1 on the test split (%)")
    figure.update_layout(title={"text": escape(target), "font": {"size": 15}, "x": 0, "xref": "paper"})
    return figure


def _prediction_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """All targets that are measured, on logarithmic axes: on the dotted line the latency table was right."""
    import plotly.graph_objects as go

    figure = go.Figure()
    targets = list(dict.fromkeys(row["target"] for row in rows))
    for number, target in enumerate(targets):
        members = [row for row in rows if row["target"] == target]
        figure.add_scatter(
            x=[row["predicted_ms"] for row in members],
            y=[row["latency_ms"] for row in members],
            error_y={"type": "data", "array": [row["latency_error_ms"] or 0.0 for row in members], "thickness": 1.2},
            mode="markers",
            marker={"color": TARGET_COLOURS[number % len(TARGET_COLOURS)], "size": 9},
            name=target,
            text=[_hover(row) for row in members],
            hoverinfo="text",
        )
    values = [row[name] for row in rows for name in ("predicted_ms", "latency_ms")]
    ends = [0.8 * min(values), 1.25 * max(values)]
    line = {"color": OTHER_COLOUR, "dash": "dot", "width": 1.5}
    figure.add_scatter(x=ends, y=ends, mode="lines", line=line, name="predicted = measured", hoverinfo="skip")
    _style(figure, "predicted latency (ms)", "measured latency (ms)")
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    return figure


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


def _hover(row: Mapping[str, Any]) -> str:
    unit, error = row["unit"], row["latency_error_ms"]
    spread = f" ± {cost_text(error, unit)}" if error else ""  # a count has none
    lines = [
        f"<b>{percent_text(row['top1'])}</b> at <b>{cost_text(row['latency_ms'], unit)}</b>{spread}",
        f"predicted {cost_text(row['predicted_ms'], unit)}, budget {cost_text(row['budget_ms'], unit)}",
        f"{count_text(row['num_params'])} parameters, {count_text(row['num_macs'])} MACs",
        escape(row["architecture"]),
        escape(row["model_uri"] or "not registered"),
    ]
    return "<br>".join(lines)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = (
        "target",
        "budget",
        "predicted",
        "measured",
        "top-1",
        "parameters",
        "MACs",
        "architecture",
        "model",
    )
    text = {"target", "architecture", "model"}
    head = "".join(f'<th class="{"text" if name in text else "number"}">{name}</th>' for name in heads)
    body = []
    for row in rows:
        done = row["status"] == "done"
        numbers = (
            *(cost_text(row[name], row["unit"]) for name in ("budget_ms", "predicted_ms", "latency_ms")),
            percent_text(row["top1"]),
            count_text(row["num_params"]),
            count_text(row["num_macs"]),
        )
        what = f"<code>{escape(row['architecture'])}</code>" if done else escape(f"failed: {row['reason']}")
        if row["doubt"]:
            what += f"<br>in doubt: {escape(row['doubt'])}"
        body.append(
            f'<tr class="{("front" if row["on_front"] else "beaten") if done else "failed"}">'
            f'<td class="text">{escape(row["target"])}</td>'
            + "".join(f"<td>{number}</td>" for number in numbers)
            + f'<td class="text wrap">{what}</td><td class="text"><code>{escape(row["model_uri"])}</code></td></tr>'
        )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
