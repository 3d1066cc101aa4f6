"""Which network an alias names, and which one is fetched."""

import random
from dataclasses import replace
from typing import Any

import pytest
from registry_cases import make_result

from orchestrator.plan.result import TrialResult
from orchestrator.registry.choice import (
    Registered,
    Wish,
    aliases_of,
    budget_alias,
    check_alias,
    choose,
    is_automatic,
    matching,
    rank,
)
from supernet.errors import InputError

# Validation and test disagree on purpose.
LUCKY = make_result("lucky", cost=1.0, top1=0.95, validation_top1=0.90, budget=0.9)
GOOD = make_result("good", cost=1.2, top1=0.93, validation_top1=0.94, budget=1.1)
WIDE = make_result("wide", cost=2.0, top1=0.97, validation_top1=0.96, budget=2.5)
COUNTED = make_result("c", target="macs", unit="1", cost=39e6, budget=40e6, predicted_cost=39e6)


def registered(*results: TrialResult) -> list[Registered]:
    names = {version: alias for alias, version in aliases_of({str(i): r for i, r in enumerate(results)}).items()}
    return [Registered("m", i, (names[str(i)],) if str(i) in names else (), r) for i, r in enumerate(results)]


def chosen(results: list[TrialResult], target: str = "ort-cpu-1t", **wish: Any) -> TrialResult:
    return choose(registered(*results), target, Wish(**wish)).result


def test_validation_chooses_and_the_test_split_does_not() -> None:
    assert chosen([LUCKY, GOOD, WIDE], max_ms=1.5) == GOOD
    assert min([LUCKY, GOOD], key=rank) == GOOD
    assert chosen([LUCKY, GOOD, WIDE], min_top1=0.93) == GOOD
    assert chosen([LUCKY, GOOD, WIDE], min_top1=0.95) == WIDE


def test_the_cheaper_of_equals_is_taken() -> None:
    cheaper = replace(GOOD, trial="cheaper", cost=1.1)
    assert chosen([GOOD, cheaper], max_ms=1.5) == cheaper
    assert aliases_of({"a": GOOD, "b": cheaper})["best"] == "b"


def test_a_network_is_chosen_by_name_and_number() -> None:
    assert chosen([LUCKY, GOOD, WIDE], alias="budget-2_5ms") == WIDE
    assert chosen([LUCKY, GOOD, WIDE], version=1) == GOOD
    with pytest.raises(InputError, match="m has no alias 'budget-2_4ms'; did you mean 'budget-2_5ms'"):
        chosen([WIDE], alias="budget-2_4ms")
    with pytest.raises(InputError, match="m has no version 7; it has 0, 1"):
        chosen([LUCKY, GOOD], version=7)


def test_what_no_network_is_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no network within 0\.500 ms on target ort-cpu-1t; the lowest is 1\.000 ms"):
        chosen([LUCKY, GOOD, WIDE], max_ms=0.5)
    with pytest.raises(InputError, match=r"validation top-1 of 0\.9700 on target ort-cpu-1t; the highest is 0\.9600"):
        chosen([LUCKY, GOOD, WIDE], min_top1=0.97)
    with pytest.raises(InputError, match=r"no registered network for target 'ort-cpu'; did you mean 'ort-cpu-1t'"):
        chosen([LUCKY], "ort-cpu", max_ms=0.5)


def test_the_limit_is_that_of_the_unit() -> None:
    assert chosen([COUNTED], "macs", max_count=40e6) == COUNTED
    with pytest.raises(InputError, match="target macs counts: give max_count"):
        chosen([COUNTED], "macs", max_ms=5)
    with pytest.raises(InputError, match="target ort-cpu-1t has a latency: give max_ms"):
        chosen([GOOD], max_count=5)


@pytest.mark.parametrize("wishes", [{}, {"max_ms": 5.0, "alias": "best"}])
def test_one_wish_is_wanted(wishes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"give one of max_ms \(--max-ms\)"):
        Wish(**wishes)


def test_aliases_name_who_they_say() -> None:
    # LUCKY and GOOD miss their own budgets: each alias names what keeps it, and there is none where nothing does.
    assert aliases_of({"1": LUCKY, "2": GOOD, "3": WIDE}) == {
        "best": "3",
        "fastest": "1",
        "knee": "2",
        "budget-1_1ms": "1",
        "budget-2_5ms": "3",
    }
    assert aliases_of({"7": COUNTED}) == {"best": "7", "fastest": "7", "knee": "7", "macs-40M": "7"}
    assert aliases_of({}) == {}


def test_a_rejected_network_is_chosen_by_its_number_alone() -> None:
    rejected = replace(WIDE, trial="off", cost=0.5, validation_top1=0.99, status="rejected", reason="30 % slower")
    results = [LUCKY, GOOD, WIDE, rejected]
    assert aliases_of(dict(zip("1234", results, strict=True))) == aliases_of(dict(zip("123", results[:3], strict=True)))
    assert chosen(results, max_ms=1.5) == GOOD
    assert chosen(results, min_top1=0.95) == WIDE
    assert chosen(results, version=3) == rejected
    with pytest.raises(InputError, match=r"no network within 0\.600 ms"):
        chosen(results, max_ms=0.6)
    own = replace(rejected, budget=1.7)
    assert aliases_of({"1": LUCKY, "4": own})["budget-1_7ms"] == "1", "what keeps the budget of a rejected network"
    networks = registered(*results)
    assert matching(networks) == networks
    assert matching(networks, max_ms=0.6) == matching(networks, min_top1=0.98) == []
    with pytest.raises(InputError, match=r"every network .* was rejected \(version 0: 30 % slower\); --version takes"):
        chosen([rejected], alias="best")
    assert chosen([rejected], version=0) == rejected


@pytest.mark.parametrize("seed", range(50))
def test_an_aliass_network_is_the_best_there_is(seed: int) -> None:
    """Against brute force; costs and accuracies are coarse, so that ties are common."""
    generator = random.Random(seed)
    results = {}
    for number in range(generator.randint(1, 9)):
        numbers = {"cost": generator.randint(1, 6) / 2, "validation_top1": generator.randint(1, 6) / 10}
        results[str(number)] = make_result(f"t{number}", budget=float(generator.randint(1, 3)), **numbers)
    found = aliases_of(results)
    assert set(found) <= {"best", "fastest", "knee", "budget-1ms", "budget-2ms", "budget-3ms"}
    for alias, key in found.items():
        if alias.startswith("budget"):
            limit = float(alias[len("budget-") : -len("ms")])
            within = [r for r in results.values() if (r.cost or 0) <= limit]
            assert results[key] in within
            assert rank(results[key]) == min(map(rank, within))
    assert rank(results[found["best"]]) == min(map(rank, results.values()))
    assert (results[found["fastest"]].cost or 0) == min(r.cost or 0 for r in results.values())


def test_budgets_have_names_that_mlflow_takes() -> None:
    assert budget_alias("ort", 5.0, "ms") == "budget-5ms"
    assert budget_alias("ort", 0.029481234, "ms") == "budget-0_02948ms"
    assert budget_alias("ort", 120.0, "ms") == "budget-120ms"
    assert budget_alias("macs", 40e6, "1") == "macs-40M"
    assert budget_alias("my.count", 1234567, "1") == "my_count-1_235M"
    names = [("ort", 2.5, "ms"), ("ort", 1e-7, "ms"), ("macs", 999.0, "1"), ("my.count", 2.5e9, "1")]
    for target, budget, unit in names:
        alias = budget_alias(target, budget, unit)
        assert is_automatic(alias, target)
        assert set(alias) <= set("abcdefghijklmnopqrstuvwxyzkMG0123456789_-")


def test_users_aliases_are_told_from_the_sweeps() -> None:
    for alias in ("champion", "production", "budget-team", "macs-team", "best-of-all"):
        check_alias(alias, "macs")
    for alias, said in (
        ("best", "the sweep sets this one"),
        ("macs-40M", "the sweep sets this one"),
        ("v7", "neither 'latest' nor"),
        ("Latest", "neither 'latest' nor"),
        ("a b", "use letters, digits"),
        ("", "use letters, digits"),
    ):
        with pytest.raises(InputError, match=said):
            check_alias(alias, "macs")


def test_networks_are_filtered() -> None:
    networks = registered(LUCKY, GOOD, COUNTED)
    assert [n.result for n in matching(networks, max_ms=1.1)] == [LUCKY]
    assert [n.result for n in matching(networks, min_top1=0.91, target="ort-cpu-1t")] == [GOOD]
    assert matching(networks, sweep="night") == networks
    with pytest.raises(InputError, match="no registered network of target 'ort-cpu-1'; did you mean"):
        matching(networks, target="ort-cpu-1")
