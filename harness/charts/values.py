"""Values as Helm takes them: files merged, and one value by its dotted key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.base.files import read_text
from harness.charts.manifests import Loader


def merge_values(files: Iterable[Path]) -> dict[str, Any]:
    """Merge values files as Helm does: mappings key by key, anything else as the later file has it."""
    found: dict[str, Any] = {}
    for file in files:
        found = _merge(found, yaml.load(read_text(file, "--values"), Loader) or {})
    return found


def value_at(values: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return the value at a dotted key, or the default where nothing is set.

    A null on the way is the value, for it undoes the chart's default; and so is anything else that has no keys.
    """
    at: Any = values
    for part in key.split("."):
        if not isinstance(at, Mapping):
            return at
        if part not in at:
            return default
        at = at[part]
    return at


def image_keys(values: Any, image: str, key: str = "") -> Iterator[str]:
    """Yield the dotted key of each value that names an image: its full name, or a mapping with its name and tag."""
    if values == image or (isinstance(values, Mapping) and f"{values.get('name')}:{values.get('tag')}" == image):
        yield key
    elif isinstance(values, Mapping):
        for name, value in values.items():
            yield from image_keys(value, image, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from image_keys(value, image, f"{key}[{number}]")


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted key as a values file has them."""
    found: dict[str, Any] = {}
    for key, value in flat.items():
        *way, last = key.split(".")
        at = found
        for part in way:
            at = at.setdefault(part, {})
        at[last] = value
    return found


def _merge(under: Any, over: Any) -> Any:
    if isinstance(under, dict) and isinstance(over, dict):
        return {**under, **{key: _merge(under.get(key), value) for key, value in over.items()}}
    return over
