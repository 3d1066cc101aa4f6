"""The page of all settings, made from the types that read them: `onepath settings`, kept as `docs/settings.md`.

Why here: a setting is explained once, where it is declared; whoever declares one without a word fails a test. It must
not know what any setting does.
"""

import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass, replace
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from orchestrator.plan.check import SEARCHING
from orchestrator.plan.config import RunConfig
from supernet.errors import InputError, nearest

INTRO = """# Settings

Every key of a sweep's configuration, with its default and what it does; `onepath settings` prints this page, `onepath
settings train` one section. A configuration is a YAML file; unknown keys are refused, with the nearest known one. The
presets in `configs/runs/` are ones to begin with: `onepath sweep` takes their names. How things go together is told in
[search](search.md), [latency](latency.md), [data](data.md), [delivery](delivery.md) and [cluster](cluster.md)."""
WIDTH, DECIDED_BY_MODE = 128, "train_weights"


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        key: Where it stands: `train.num_steps`.
        default: As YAML; None where it must be given.
        choices: Values to choose from, where they have names.
        meaning: In words.
    """

    key: str
    default: str | None
    choices: tuple[str, ...]
    meaning: str


def settings_of(section: str | None = None) -> dict[str, list[Setting]]:
    """Return all settings by section, or those of one; the first section, without a name, is the top level.

    Raises:
        InputError: If there is no such section.
    """
    found: dict[str, list[Setting]] = {"": []}
    for setting in _of(RunConfig, ""):
        name, _, rest = setting.key.partition(".")
        found.setdefault(name if rest else "", []).append(setting)
    found["warmup"] = [one for one in found["warmup"] if _within(one) not in SEARCHING]
    alike = {replace(one, key=one.key.replace("warmup", "search", 1)) for one in found["warmup"]}
    found["search"] = [one for one in found["search"] if one not in alike and _within(one) != DECIDED_BY_MODE]
    if section is None:
        return found
    if section not in found:
        raise InputError(f"no section {section!r}{nearest(section, filter(None, found))}")
    return {section: found[section]}


def settings_page(section: str | None = None) -> str:
    """Return the page of all settings, or of one section, as Markdown.

    Raises:
        InputError: As `settings_of`.
    """
    parts = [INTRO] if section is None else []
    for name, members in settings_of(section).items():
        head = [f"## {name}", "", textwrap.fill(_explained(RunConfig)[name], WIDTH), ""] if name else []
        parts.append("\n".join([*head, *(_line(one, name) for one in members)]))
    return "\n\n".join(parts) + "\n"


def _within(setting: Setting) -> str:
    return setting.key.split(".")[1]


def _line(setting: Setting, section: str) -> str:
    key = setting.key.removeprefix(f"{section}.")
    default = "required" if setting.default is None else f"`{setting.default}`"
    choices = [f"`{choice}`" for choice in setting.choices if choice != setting.default]
    offered = f"; or {', '.join(choices)}" if choices else ""
    text = f"* `{key}` ({default}{offered}): {setting.meaning}"
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _of(kind: Any, place: str) -> Iterator[Setting]:
    """Return the settings of a section and of those within it, in the order in which they are declared."""
    explained, declared = _explained(kind), getattr(kind, "model_fields", None) or kind.__pydantic_fields__
    for name, field in declared.items():
        key, inner = f"{place}{field.alias or name}", _section(field.annotation)
        default = field.get_default(call_default_factory=True)
        if inner is None or default is None:
            written = None if field.is_required() else _yaml(default)
            yield Setting(key, written, _choices(field.annotation), explained.get(name, ""))
        if inner is not None:
            yield from _of(inner, f"{key}.")


def _explained(kind: type) -> dict[str, str]:
    """Return what the docstrings of a class and of those it extends say of each attribute."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        _, _, listed = inspect.cleandoc(owner.__dict__.get("__doc__") or "").partition("Attributes:\n")
        for name, meaning in re.findall(r"^    (\w+): ((?:.|\n(?=     ))+)", listed, re.MULTILINE):
            found[name] = " ".join(meaning.split()).replace("None", "null")
    return found


def _parts(kind: Any) -> tuple[Any, ...]:
    """Return what an annotation may be: itself, or the members of a union, without what is said about them."""
    if get_origin(kind) is Annotated:
        return _parts(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return tuple(part for member in get_args(kind) for part in _parts(member))
    return (kind,)


def _section(kind: Any) -> Any:
    """Return the class of a section, None for a plain value."""
    return next((part for part in _parts(kind) if is_dataclass(part) or hasattr(part, "model_fields")), None)


def _choices(kind: Any) -> tuple[str, ...]:
    return tuple(choice for part in _parts(kind) if get_origin(part) is Literal for choice in get_args(part))


def _yaml(value: Any) -> str:
    """Return a default as it would be written."""
    return value if isinstance(value, str) else json.dumps(value)
