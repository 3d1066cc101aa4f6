"""Finding spaces and networks by name, file or id: YAML presets from `configs/`, the user's own files.

Why apart from `space`: the values there know nothing of files and no torch. A space that is loaded here has been
traced, so shapes that do not fit are refused before anything is built.
"""

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ConfigDict

from supernet.cost import trace
from supernet.errors import InputError, nearest
from supernet.plain import STRICT, Text, parse_json, read
from supernet.space import Architecture, Space, architecture_from_json, read_space
from supernet.yaml_text import MAX_BYTES, parse_yaml

Reference = str | Mapping[str, Any]
"""A preset's name, a path to a YAML file, or a mapping `{base: REFERENCE, key: value, ...}`."""


CONFIGS = FilePath(__file__).resolve().parent.parent / "configs"
"""Beside this package wherever it is installed; the name is not imported, a user's own `configs/` could hide it."""

MAX_BASES = 8
"""Definitions that stand on one another by `base`; more is a circle."""


def preset_names(kind: str) -> list[str]:
    """Return the names of the packaged presets of a kind: `spaces`, `networks`, `targets` or `runs`."""
    return sorted(file.stem for file in (CONFIGS / kind).glob("*.yaml"))


def read_preset(kind: str, reference: str) -> tuple[Any, str]:
    """Return the parsed YAML of a preset or file, and the place to name in messages.

    Args:
        kind: `spaces`, `networks`, `targets` or `runs`.
        reference: Preset name, or a path ending in `.yaml`, `.yml` or `.json`.

    Raises:
        InputError: If there is no such preset or file, or it is neither YAML nor JSON.
    """
    if reference.endswith((".yaml", ".yml")):
        return parse_yaml(read_file(reference), reference), reference
    if reference.endswith(".json"):  # YAML would read a number such as 4e-05 as text
        return parse_json(read_file(reference), reference), reference
    names = preset_names(kind)
    if reference not in names:
        raise InputError(
            f"unknown {kind[:-1]} {reference!r}{nearest(reference, names)} (or give a path to a .yaml file)"
        )
    return parse_yaml((CONFIGS / kind / f"{reference}.yaml").read_bytes(), reference), reference


def read_file(name: str) -> bytes:
    """Return the content of a configuration's file, at most one byte more than a reader takes.

    Raises:
        InputError: If there is no such file, or it cannot be read.
    """
    file = FilePath(name)
    try:
        if not file.is_file():
            raise InputError(f"{name}: no such file")
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: cannot be read ({error})") from error


def space_definition(reference: Reference, place: str = "space", depth: int = 0) -> dict[str, Any]:
    """Resolve a reference to one flat definition: `base` is loaded first, the other keys override it.

    Raises:
        InputError: If it does not resolve to mappings, or comes back to itself.
    """
    if depth > MAX_BASES:
        raise InputError(
            f"{place}.base: more than {MAX_BASES} definitions on one another; does it come back to itself?"
        )
    if isinstance(reference, str):
        try:
            loaded, place = read_preset("spaces", reference)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
    else:
        loaded = reference
    if not isinstance(loaded, Mapping):
        raise InputError(f"{place}: {loaded!r}; expected a mapping, or the name of a space")
    own = dict(loaded)
    if "base" not in own:
        return own
    base = space_definition(own.pop("base"), place, depth + 1)
    channels = [read(dict[str, Any], part.get("channels", {}), f"{place}.channels") for part in (base, own)]
    return {**base, **own, **({"channels": channels[0] | channels[1]} if any(channels) else {})}


def load_space(reference: Reference, place: str = "space") -> Space:
    """Load a space by preset name, YAML path or `{base: ..., overrides}`, and trace its shapes.

    Raises:
        InputError: If it does not exist or does not read, naming the place; if a candidate does not fit, naming
            the layer.
    """
    name = reference if isinstance(reference, str) else place
    space = read_space(space_definition(reference, place), name)
    trace(space)
    return space


class _NetworkKeys(BaseModel):
    """A published network as it is written."""

    model_config = ConfigDict(**STRICT, frozen=True)
    space: Text | dict[str, Any]
    stages: tuple[tuple[str, ...], ...]


def load_network(reference: str, *, trust: bool = False) -> tuple[Space, Architecture]:
    """Load one architecture with its space.

    Args:
        reference: Name of a published network, path to an architecture JSON file, or compact id `SPACE:OPS`,
            where SPACE is the name of a space or published network, or the path of a space's YAML file.
        trust: Whether to import the module of own operators that a file names: that runs its code.

    Raises:
        InputError: If none of these is meant, the operators do not fit the space, or a file that is not trusted names
            own operators.
    """
    if reference.endswith(".json"):
        space, architecture = architecture_from_json(read_file(reference), reference)
        _require_trust(space, reference, trust)
        trace(space)
    elif ":" in reference:
        architecture = Architecture.parse(reference)
        published = architecture.space in preset_names("networks")
        if published:
            space = load_network(architecture.space)[0]
        else:
            space = read_space(space_definition(architecture.space), architecture.space)
            _require_trust(space, architecture.space, trust)
            trace(space)
    else:
        loaded, place = read_preset("networks", reference)
        keys: _NetworkKeys = read(_NetworkKeys, loaded, f"network {place}")
        space = load_space(keys.space, f"{place}.space")
        architecture = Architecture(space.name, keys.stages)
    return space, space.architecture(space.path(architecture))


def _require_trust(space: Space, place: str, trust: bool) -> None:
    if space.operators and not trust:
        raise InputError(
            f"{place}: its operators are code of the module {space.operators!r}, which would be imported and run; "
            "look at it, then give --trust"
        )
