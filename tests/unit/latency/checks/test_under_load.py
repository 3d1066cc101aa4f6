"""The check under load: three answers from made-up tables, with a real busy process beside them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from latency_cases import made_up_table

from latency.checks.under_load import verify_under_load
from latency.checks.verdict import Verdict
from latency.errors import MachineTooNoisy
from latency.measuring.machine import fast_cores
from latency.tables.table import LatencyTable
from latency.target import load_target
from supernet.errors import InputError
from supernet.presets import load_space

SPACE, TARGET = load_space("digits"), load_target("ort-cpu-1t")


def builder(**scales: float | None) -> Callable[..., LatencyTable]:
    """Return what builds tables so many times as slow, by folder; None refuses."""

    def build(space, target, folder, **options):
        assert target.options["cores"] == fast_cores()[:1]
        scale = scales[folder.rsplit("/", 1)[1]]
        if scale is None:
            raise MachineTooNoisy("not written: too noisy")
        table = made_up_table(space, target)
        rows = tuple(replace(row, raw_ms=scale * row.raw_ms) for row in table.rows)
        return replace(table, rows=rows, info={"clean_share": 0.99})

    return build


@pytest.mark.parametrize(
    ("scales", "verdict", "reason"),
    [
        ({"quiet": 1.0, "loaded": 1.01}, Verdict.HOLDS, "1.0% at worst (3% allowed)"),
        ({"quiet": 1.0, "loaded": None}, Verdict.HOLDS, "no table came out: not written"),
        ({"quiet": None}, Verdict.TOO_NOISY, "even without it: not written"),
        ({"quiet": 1.0, "loaded": 1.06, "again": 1.005}, Verdict.FALLS_SHORT, "at worst (3% allowed)"),
        ({"quiet": 1.0, "loaded": 1.06, "again": 1.06}, Verdict.TOO_NOISY, "the machine moved by itself"),
        ({"quiet": 1.0, "loaded": 1.06, "again": None}, Verdict.TOO_NOISY, "even without it: not written"),
    ],
)
def test_a_difference_is_laid_to_the_neighbour_only_if_quiet_tables_agree(
    scales: dict[str, float | None], verdict: Verdict, reason: str
) -> None:
    report = verify_under_load(SPACE, TARGET, build=builder(**scales))
    assert report.verdict == verdict
    assert reason in report.text()


def test_targets_elsewhere_are_refused() -> None:
    with pytest.raises(InputError, match="cuda-fp32-b8: a busy processor can only be made"):
        verify_under_load(SPACE, load_target("cuda-fp32-b8"), build=builder())
