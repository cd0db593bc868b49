"""The owners' pipelines, each run as a script in an empty directory."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from .places import ended_well


def run_pipeline(checkout: Path, file: str, arguments: list[str], directory: Path) -> dict[str, Any]:
    """Run one as `python FILE` does, and return its definitions, what it printed, and the images in its variables."""
    script = checkout / file
    directory.mkdir(parents=True)
    arguments_before, path_before = sys.argv[:], sys.path[:]
    printed = io.StringIO()
    variables: dict[str, Any] = {}
    os.chdir(directory)
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    try:
        with ended_well(), contextlib.redirect_stdout(printed):
            variables = runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = arguments_before, path_before
    definitions = {path.name: json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))}
    return {
        "file": file,
        "arguments": arguments,
        "definitions": definitions,
        "printed": printed.getvalue(),
        "images": _images(variables),
    }


def _images(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records that name an image, whatever the list is called that holds them."""
    found = [
        dataclasses.asdict(each)
        for value in variables.values()
        if isinstance(value, list | tuple)
        for each in value
        if dataclasses.is_dataclass(each) and not isinstance(each, type) and hasattr(each, "image_name")
    ]
    return [json.loads(json.dumps(each, default=str)) for each in found]
