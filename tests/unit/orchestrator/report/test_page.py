"""The page of a sweep: self-contained, and with every number."""

from report_cases import COUNTED, PUBLISHED, RESULTS, Page, done, figures, weighted

from orchestrator.plan.curves import Point
from orchestrator.report.page import PageTable, report_html
from orchestrator.report.rows import front_rows


def test_page_is_self_contained_and_says_everything() -> None:
    html = report_html(front_rows(RESULTS), title="a <b> sweep", sections=[("Machine", "2 cores <fast>")])
    page = Page()
    page.feed(html)
    assert page.fetched == []
    remarks = [said for result in RESULTS for said in (not result.done, bool(result.doubt)) if said]
    assert page.rows == 1 + len(RESULTS) + len(remarks)
    for expected in (
        "a <b> sweep",
        "2 cores <fast>",
        "failed: board <lost>",
        "models:/night-torch/1",
        "k5e6-k3e3-skip",
    ):
        assert expected in page.text
    assert "5 trials on 2 targets: 4 finished, 3 on a front" in page.text
    calls = figures(html)
    assert len(calls) == 3  # two fronts, one comparison
    assert "models:\\u002fnight-ort\\u002f1" in calls[0] or "models:/night-ort/1" in calls[0]
    assert "k5e6-k3e3-skip" in calls[0]


def test_page_names_trials_and_what_was_asked_of_them() -> None:
    results = [weighted("ort-w0.05", 0.05, 2.0, 0.95), weighted("ort-w1", 1.0, 1.0, 0.8)]
    html = report_html(front_rows(results))
    assert all(f'<td class="text">{result.trial}</td>' in html for result in results)
    assert '<th class="text">trial</th>' in html
    assert "<th>weight</th>" in html
    assert "<th>budget</th>" not in html
    front, comparison = figures(html)
    for drawn in (front, comparison):
        assert "ort-w0.05\\u003cbr\\u003e" in drawn
        assert "ms, weight 0.05\\u003cbr" in drawn
    limited = report_html(front_rows(RESULTS))
    assert "<th>budget</th>" in limited
    assert "<th>weight</th>" not in limited
    assert "ms, budget 1.100 ms\\u003cbr" in figures(limited)[0]


def test_page_shows_counts_as_counts_and_compares_only_what_was_predicted() -> None:
    html = report_html(front_rows([*RESULTS, COUNTED]))
    page = Page()
    page.feed(html)
    assert "4.5 M" in page.text
    assert "2.000 ms" in page.text
    counted, ort, torch, comparison = figures(html)
    assert "at \\u003cb\\u003e4.5 M\\u003c" in counted
    assert " ms" not in counted
    assert "2.000 ms" in ort
    assert "9.000 ms" in torch
    assert '"name":"ort"' in comparison
    assert "macs" not in comparison
    assert "macs, counted" in html
    alone = report_html(front_rows([COUNTED]))
    assert len(figures(alone)) == 1
    assert "Predicted against" not in alone


def test_published_latencies_are_named_so_and_held_against_no_prediction() -> None:
    """Seen: as measured, and each exactly where it was predicted, for it is the prediction."""
    html = report_html(front_rows([*RESULTS, PUBLISHED]))
    page = Page()
    page.feed(html)
    assert "80.0 ms (published)" in page.text
    _, published, _, comparison = figures(html)
    assert "80.0 ms (published)" in published
    assert "published latency (ms), dotted: budgets" in html
    assert '"name":"ort"' in comparison
    assert "pixel1" not in comparison


def test_a_baseline_is_drawn_and_named_and_counts_as_no_trial() -> None:
    known = done("fast-net", "ort", 1.5, 0.75, baseline="net")
    html = report_html(front_rows([*RESULTS, known]))
    page = Page()
    page.feed(html)
    assert "5 trials on 2 targets: 4 finished, 3 on a front; 1 baselines beside them" in page.text
    assert "net: k5e6" in page.text
    ort, _, comparison = figures(html)
    assert '"symbol":"diamond"' in ort
    assert "fast-net" in ort
    assert "fast-net" not in comparison


def test_a_point_leads_to_its_architecture_and_searches_and_tables_are_shown() -> None:
    html = report_html(
        front_rows(RESULTS),
        drawings={"fast": "<svg>drawn fast</svg>", "slow": "<svg>beaten</svg>"},
        curves={"fast": [Point(1, 2.2, 1.5), Point(9, 1.1, 0.5)], "slow": [], "only": [Point(1, 9.9, 1.5)]},
        tables=[PageTable("Cross <table>", [["", "a"], ["net", "1.0"]], ["what it says"], {(1, 1)})],
    )
    page = Page()
    page.feed(html)
    assert '<figure id="network-fast"' in html
    assert "drawn fast" in page.text
    assert "80.0 % at 1.000 ms, budget 1.100 ms" in page.text
    assert "beaten" not in page.text, "it is on no front"
    assert 'id="trial-slow"' in html
    ort, torch, _, costs, entropies = figures(html)
    assert '"customdata":["fast","best"]' in ort
    assert '"customdata":["only"]' in torch
    assert '"y":[2.0,1.0]' in costs.replace("2.0000000000000000", "2.0"), "as shares of the budget"
    assert '"y":[1.5,0.5]' in entropies
    assert "Cross <table>" in page.text
    assert "what it says" in page.text
    assert '<td class=" marked">' in html
    assert len(figures(report_html(front_rows(RESULTS)))) == 3
