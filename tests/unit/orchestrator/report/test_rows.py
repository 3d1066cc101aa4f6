"""Rows of a report, and numbers as text."""

import json
from dataclasses import replace

import numpy as np
from report_cases import COUNTED, PUBLISHED, RESULTS, done, weighted

from orchestrator.report.rows import (
    asked_text,
    bytes_text,
    cost_label,
    cost_text,
    count_text,
    found_text,
    front_rows,
    limit_text,
    ms_text,
    percent_text,
    spread_text,
    tick_text,
)


def test_rows_are_ordered_and_the_front_is_each_targets_own() -> None:
    rows = front_rows(RESULTS)
    assert [row.result.trial for row in rows] == ["fast", "best", "slow", "lost", "only"]
    assert [row.on_front for row in rows] == [True, True, False, False, True]
    plain = [row.to_plain() for row in rows]
    assert json.loads(json.dumps(plain)) == plain
    assert plain[3]["cost"] is None
    assert plain[0]["on_front"]
    assert front_rows([]) == []


def test_a_rejected_network_beats_nobody() -> None:
    gate = done("gate", "ort", 0.5, 0.99, status="rejected", reason="prediction and measurement disagree")
    rows = {row.result.trial: row.on_front for row in front_rows([*RESULTS, gate])}
    assert rows == {"fast": True, "best": True, "slow": False, "lost": False, "only": True, "gate": False}


def test_costs_as_text() -> None:
    assert [cost_text(n, "ms") for n in (None, 0.1234, 123.456)] == ["-", "0.123 ms", "123.5 ms"]
    assert [cost_text(n, "1") for n in (None, 12, 4.5e6)] == ["-", "12", "4.5 M"]
    assert (tick_text(12.345, "ms"), tick_text(12345.0, "1")) == ("12.3", "12.3 k")
    labels = [cost_label(front_rows([result])) for result in (COUNTED, RESULTS[1], PUBLISHED)]
    assert labels == ["macs, counted", "measured latency (ms)", "published latency (ms)"]
    assert [found_text(result) for result in (COUNTED, RESULTS[1])] == ["4.5 M", "3.000 ms"]
    assert found_text(PUBLISHED) == "80.0 ms (published)"


def test_what_was_asked_as_text() -> None:
    asked = [asked_text(result) for result in (COUNTED, RESULTS[1], weighted("w", 0.05, 1.0, 0.9))]
    assert asked == ["budget 5 M", "budget 3.300 ms", "weight 0.05"]
    assert asked_text(replace(COUNTED, budget=None)) == ""


def test_a_typed_limit_is_kept_by_the_network_it_is_made_for() -> None:
    generator = np.random.default_rng(0)
    for cost in 10 ** generator.uniform(-3, 4, 200):
        assert cost < float(limit_text(cost, "ms")) < 1.03 * cost
    for count in generator.integers(1, 10**10, 200):
        assert float(limit_text(float(count), "1")) == count


def test_numbers_as_text() -> None:
    assert [count_text(n) for n in (999_600, 999_999_999, 1e13, 5e6)] == ["1 M", "1 G", "10000 G", "5 M"]
    assert [bytes_text(n) for n in (12, 999.7, 1234, 999_900)] == ["12 B", "1 kB", "1.23 kB", "1 MB"]
    assert [count_text(n) for n in (None, 7, 999, 1234, 5.3e6, 2.5e9)] == ["-", "7", "999", "1.23 k", "5.3 M", "2.5 G"]
    assert [ms_text(n) for n in (None, 0.05123, 0.1234, 9.5, 123.456)] == ["-", "0.0512", "0.123", "9.500", "123.5"]
    spreads = [spread_text(n) for n in (None, 0.0, 8e-05, 0.012, 0.3, 14.6)]
    assert spreads == ["", "", " ± 0.00008", " ± 0.01", " ± 0.3", " ± 15"]
    assert [percent_text(n) for n in (None, 0.9567)] == ["-", "95.7 %"]
