"""Finding spaces and networks by name, file or id: YAML presets from `configs/`, the user's own files.

Why apart from `space`: the values there know nothing of files and no torch. A space that is loaded here has been
traced, so shapes that do not fit are refused before anything is built.
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path as FilePath
from typing import Any

import yaml

from supernet.cost import trace
from supernet.errors import InputError, nearest
from supernet.rows import check_keys
from supernet.space import Architecture, Space, architecture_from_json, read_space

Reference = str | Mapping[str, Any]
"""A preset's name, a path to a YAML file, or a mapping `{base: REFERENCE, key: value, ...}`."""


def preset_names(kind: str) -> list[str]:
    """Return the names of the packaged presets of a kind: `spaces`, `networks`, `targets` or `runs`."""
    folder = resources.files("configs") / kind
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_preset(kind: str, reference: str) -> tuple[Any, str]:
    """Return the parsed YAML of a preset or file, and the place to name in messages.

    Args:
        kind: `spaces`, `networks`, `targets` or `runs`.
        reference: Preset name, or a path ending in `.yaml` or `.yml`.

    Raises:
        InputError: If there is no such preset or file, or it is not YAML.
    """
    if reference.endswith((".yaml", ".yml")):
        file = FilePath(reference)
        if not file.is_file():
            raise InputError(f"{reference}: no such file")
        text, place = file.read_text(), reference
    else:
        names = preset_names(kind)
        if reference not in names:
            raise InputError(
                f"unknown {kind[:-1]} {reference!r}{nearest(reference, names)} (or give a path to a .yaml file)"
            )
        text, place = (resources.files("configs") / kind / f"{reference}.yaml").read_text(), reference
    try:
        return yaml.safe_load(text), place
    except yaml.YAMLError as error:
        raise InputError(f"{place}: not valid YAML: {error}") from error


def space_definition(reference: Reference, place: str = "space") -> dict[str, Any]:
    """Resolve a reference to one flat definition: `base` is loaded first, the other keys override it."""
    if isinstance(reference, str):
        loaded, place = read_preset("spaces", reference)
    else:
        loaded = reference
    if not isinstance(loaded, Mapping):
        raise InputError(f"{place}: {loaded!r}; expected a mapping, or the name of a space")
    own = dict(loaded)
    if "base" not in own:
        return own
    base = space_definition(own.pop("base"), place)
    channels = {**base.get("channels", {}), **own.get("channels", {})}
    return {**base, **own, **({"channels": channels} if channels else {})}


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
        file = FilePath(reference)
        if not file.is_file():
            raise InputError(f"{reference}: no such file")
        space, architecture = architecture_from_json(file.read_text(), reference)
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
        check_keys(loaded, {"space", "stages"}, {"space", "stages"}, f"network {place}")
        space = load_space(loaded["space"], f"{place}.space")
        architecture = Architecture(space.name, tuple(tuple(stage) for stage in loaded["stages"]))
    return space, space.architecture(space.path(architecture))


def _require_trust(space: Space, place: str, trust: bool) -> None:
    if space.operators and not trust:
        raise InputError(
            f"{place}: its operators are code of the module {space.operators!r}, which would be imported and run; "
            "look at it, then give --trust"
        )
