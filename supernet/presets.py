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
    space = _space_at(reference, place)
    trace(space)
    return space


def _space_at(reference: Reference, place: str) -> Space:
    """Read a space; unlike `trace`, this imports no module of own operators."""
    return read_space(space_definition(reference, place), reference if isinstance(reference, str) else place)


def has_shortcuts(reference: Reference) -> bool:
    """Whether candidates of a space stand beside a shortcut, where they can begin at zero; reads its rows only."""
    return any(layer.residual for layer in _space_at(reference, "space").positions)


class _NetworkKeys(BaseModel):
    """A published network as it is written."""

    model_config = ConfigDict(**STRICT, frozen=True)
    space: Text | dict[str, Any]
    stages: tuple[tuple[str, ...], ...]


def load_network(reference: Reference, *, trust: bool = False) -> tuple[Space, Architecture]:
    """Load one architecture with its space.

    Args:
        reference: Name of a published network, path to an architecture's JSON or a network's YAML file, or compact id
            `SPACE:OPS`, where SPACE is the name of a space or published network, or the path of a space's YAML file; or
            the definition itself, as `network_definition` writes it.
        trust: Whether to import the module of own operators that a file, or the space that it names, asks for: that
            runs its code.

    Raises:
        InputError: If none of these is meant, the operators do not fit the space, or what is not trusted names own
            operators.
    """
    space, architecture = _network_at(reference)
    if space.operators and not trust:
        place = reference if isinstance(reference, str) else "network"
        raise InputError(
            f"{place}: its operators are code of the module {space.operators!r}, which would be imported and run; "
            "look at it, then give --trust"
        )
    trace(space)
    return space, space.architecture(space.path(architecture))


def network_definition(space: Space, architecture: Architecture) -> dict[str, Any]:
    """Return a network with its whole space as plain data, read back by `load_network`."""
    return {"space": space.to_dict(), "stages": [list(stage) for stage in architecture.stages]}


def _network_at(reference: Reference) -> tuple[Space, Architecture]:
    """Read one architecture and its space, see `load_network`; nothing of it is imported."""
    if isinstance(reference, Mapping):
        return _defined(reference, "network")
    if reference.endswith(".json"):
        return architecture_from_json(read_file(reference), reference)
    if ":" in reference:
        architecture = Architecture.parse(reference)
        if architecture.space in preset_names("networks"):
            return _network_at(architecture.space)[0], architecture
        return _space_at(architecture.space, "space"), architecture
    loaded, place = read_preset("networks", reference)
    return _defined(loaded, f"network {place}")


def _defined(definition: Any, place: str) -> tuple[Space, Architecture]:
    keys: _NetworkKeys = read(_NetworkKeys, definition, place)
    space = _space_at(keys.space, f"{place}.space")
    return space, Architecture(space.name, keys.stages)
