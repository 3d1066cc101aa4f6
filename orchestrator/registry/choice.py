"""Which network: the aliases of a registered model, and the choice of one to fetch.

Why here: aliases, tables and `pull` mean the same by "best". Pure functions of what is registered; it must not know
MLflow.

The test split chooses nothing: chosen by it, the reported top-1 would be too high. Accuracy here is that of the
validation split.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from orchestrator.plan.result import TrialResult, told
from orchestrator.report.pareto import knee
from orchestrator.report.rows import cost_text, count_text, limit_text
from supernet.errors import InputError, nearest

BEST, FASTEST, KNEE = "best", "fastest", "knee"
ALIAS = re.compile(r"[A-Za-z0-9_-]{1,100}")
RESERVED = re.compile(r"latest|v\d+", re.IGNORECASE)
"""What MLflow keeps for itself."""


@dataclass(frozen=True)
class Registered:
    """One version of a registered model.

    Attributes:
        model: Name of the registered model, see `model_name`.
        version: Its number.
        aliases: The names that it has, in order.
        result: The trial it is of.
    """

    model: str
    version: int
    aliases: tuple[str, ...]
    result: TrialResult

    def to_plain(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        named = {"model": self.model, "version": self.version, "aliases": list(self.aliases)}
        return told(self.result) | named


def model_name(sweep: str, target: str) -> str:
    """Return the name of the registered model that holds a sweep's networks for a target."""
    return f"{sweep}-{target}"


def rank(result: TrialResult) -> tuple[float, float]:
    """Return what the best of several networks has the least of: validation top-1 first, then the cost."""
    assert result.validation_top1 is not None, result
    assert result.cost is not None, result
    return -result.validation_top1, result.cost


def budget_alias(target: str, budget: float, unit: str) -> str:
    """Return the alias of a budget, to four digits: `budget-2_5ms`, or `macs-40M` where the target counts.

    MLflow allows letters, digits, `_` and `-`, so a point is written `_`.
    """
    if unit == "ms":
        return f"budget-{Decimal(f'{budget:.4g}').normalize():f}ms".replace(".", "_")
    return f"{target}-{count_text(budget, digits=4)}".replace(".", "_").replace(" ", "")


def is_automatic(alias: str, target: str) -> bool:
    """Whether an alias of a target's model is set here; all others are the users'."""
    counted = re.escape(target.replace(".", "_"))
    return alias in (BEST, FASTEST, KNEE) or bool(
        re.fullmatch(rf"budget-[\d_]+ms|{counted}-[\d_]+[kMG]?", alias, re.ASCII)
    )


def check_alias(alias: str, target: str) -> None:
    """Refuse an alias that no user may set.

    Raises:
        InputError: If MLflow does not allow it, or it is set by the sweep.
    """
    if not ALIAS.fullmatch(alias) or RESERVED.fullmatch(alias):
        raise InputError(
            f"alias {alias!r}: use letters, digits, '_' and '-', and neither 'latest' nor 'v' and a number"
        )
    if is_automatic(alias, target):
        raise InputError(f"alias {alias!r}: the sweep sets this one by what it measured; use another, such as champion")


def aliases_of(results: Mapping[str, TrialResult]) -> dict[str, str]:
    """Return which network each automatic alias of a registered model names; none names a rejected one.

    `best`: the highest validation top-1. `fastest`: the lowest measured cost. `knee`: see `report.pareto.knee`, of
    measured cost and validation top-1. One per budget that was searched: the highest validation top-1 among those whose
    measured cost keeps it, and no alias where none does; budgets that agree in four digits share one, at the lowest. Of
    equal networks, the cheaper one, then the first.

    Args:
        results: By whatever names a network, in a fixed order.

    Returns:
        Those names by alias.
    """
    known = {key: result for key, result in results.items() if None not in (result.cost, result.validation_top1)}
    networks = {key: result for key, result in known.items() if result.done}
    if not networks:
        return {}
    keys = list(networks)
    points = [(result.cost or 0.0, result.validation_top1 or 0.0) for result in networks.values()]
    searched = [(r.budget, r) for r in known.values() if r.budget is not None]
    found = {
        BEST: min(keys, key=lambda key: rank(networks[key])),
        FASTEST: min(keys, key=lambda key: rank(networks[key])[::-1]),
        KNEE: keys[knee([cost for cost, _ in points], [top1 for _, top1 in points])],
    }
    for budget, result in sorted(searched, key=lambda pair: pair[0]):
        fitting = [key for key in keys if rank(networks[key])[1] <= budget]
        if fitting:
            alias = budget_alias(result.target, budget, result.unit)
            found.setdefault(alias, min(fitting, key=lambda key: rank(networks[key])))
    return found


@dataclass(frozen=True)
class Wish:
    """Which network of a target is wanted: exactly one of these is given.

    Attributes:
        max_ms: The best of those within so many milliseconds.
        max_count: The best of those within so high a count, where the target counts.
        min_top1: The cheapest of those with at least this validation top-1, 0..1.
        alias: The one that has this alias.
        version: The one of this number, even a rejected one.

    Raises:
        InputError: If none is given, or several.
    """

    max_ms: float | None = None
    max_count: float | None = None
    min_top1: float | None = None
    alias: str | None = None
    version: int | None = None

    def __post_init__(self) -> None:
        """Refuse none and several."""
        given = [f.name for f in fields(self) if getattr(self, f.name) is not None]
        if len(given) != 1:
            names = ", ".join(f"{f.name} (--{f.name.replace('_', '-')})" for f in fields(self))
            raise InputError(f"give one of {names}; given: {', '.join(given) or 'none'}")


def choose(networks: Iterable[Registered], target: str, wish: Wish) -> Registered:
    """Return one network of a target among those of a sweep; a rejected one only if its version is asked for.

    Raises:
        InputError: If the target has no network, its costs are in another unit, or none is as wished; then the message
            names what there is.
    """
    measured = [network for network in networks if network.result.cost is not None]
    targets = {network.result.target for network in measured}
    if target not in targets:
        raise InputError(f"no registered network for target {target!r}{nearest(target, targets)}")
    found = sorted((n for n in measured if n.result.target == target), key=lambda n: rank(n.result))
    limits, unit = {"ms": wish.max_ms, "1": wish.max_count}, found[0].result.unit
    limit = limits.pop(unit)
    if any(other is not None for other in limits.values()):
        does, give = ("has a latency", "max_ms (--max-ms)") if unit == "ms" else ("counts", "max_count (--max-count)")
        raise InputError(f"target {target} {does}: give {give}")
    if wish.version is not None:
        return _numbered(found, wish.version)
    passed = [network for network in found if network.result.done]
    if not passed:
        told = "; ".join(f"version {network.version}: {network.result.reason}" for network in found)
        raise InputError(f"every network for target {target} was rejected ({told}); --version takes one all the same")
    if limit is not None:
        return _within(passed, limit)
    if wish.min_top1 is not None:
        return _at_least(passed, wish.min_top1)
    return _named(passed, str(wish.alias))


def _named(found: list[Registered], alias: str) -> Registered:
    """Return the network that has an alias."""
    for network in found:
        if alias in network.aliases:
            return network
    aliases = sorted(alias for network in found for alias in network.aliases)
    raise InputError(f"{found[0].model} has no alias {alias!r}{nearest(alias, aliases)}")


def _numbered(found: list[Registered], version: int) -> Registered:
    """Return the network of a number."""
    for network in found:
        if network.version == version:
            return network
    versions = ", ".join(str(number) for number in sorted(network.version for network in found))
    raise InputError(f"{found[0].model} has no version {version}; it has {versions}")


def matching(
    networks: Iterable[Registered],
    *,
    sweep: str | None = None,
    target: str | None = None,
    max_ms: float | None = None,
    min_top1: float | None = None,
) -> list[Registered]:
    """Return the networks of a sweep and a target; with a limit, those that passed the gate and keep it.

    Limits are a latency and a validation top-1.

    Raises:
        InputError: If none is of such a sweep or target at all.
    """
    found = list(networks)
    for name, wanted in (("sweep", sweep), ("target", target)):
        known = {getattr(network.result, name) for network in found}
        if wanted is not None and wanted not in known:
            raise InputError(f"no registered network of {name} {wanted!r}{nearest(wanted, known)}")
        found = [network for network in found if wanted in (None, getattr(network.result, name))]
    if max_ms is not None or min_top1 is not None:
        found = [network for network in found if network.result.done]
    if max_ms is not None:
        found = [n for n in found if n.result.unit == "ms" and rank(n.result)[1] <= max_ms]
    return [n for n in found if min_top1 is None or -rank(n.result)[0] >= min_top1]


def _within(found: list[Registered], max_cost: float) -> Registered:
    """Return the first of networks, best first, that costs no more."""
    for network in found:
        if rank(network.result)[1] <= max_cost:
            return network
    lowest = min((network.result for network in found), key=lambda result: rank(result)[::-1])
    assert lowest.cost is not None, lowest
    raise InputError(
        f"no network within {cost_text(max_cost, lowest.unit)} on target {lowest.target}; the lowest is "
        f"{cost_text(lowest.cost, lowest.unit)} (top-1 {lowest.top1:.4f}, {lowest.model_uri}); "
        f"allow {limit_text(lowest.cost, lowest.unit)}, or search with a tighter budget"
    )


def _at_least(found: list[Registered], min_top1: float) -> Registered:
    """Return the cheapest of networks, best first, that is as accurate."""
    fitting = [network for network in found if -rank(network.result)[0] >= min_top1]
    if fitting:
        return min(fitting, key=lambda network: rank(network.result)[::-1])
    best = found[0].result
    raise InputError(
        f"no network with a validation top-1 of {min_top1:.4f} on target {best.target}; the highest is "
        f"{best.validation_top1:.4f} ({cost_text(best.cost, best.unit)}, {best.model_uri})"
    )
