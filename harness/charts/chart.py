"""The chart, whoever wrote it, and a release of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import HarnessError

CHART_NAME = "jupyterhub"
SPAWNER_NAME = "dynamicImageConfig.py"
SPAWNER_KEY = r"hub.extraConfig.dynamicImageConfig\.py"
"""Where the custom spawner goes among the values, in the syntax of Helm's --set-file."""


@dataclass(frozen=True)
class Chart:
    """An unpacked chart.

    Attributes:
        path: its directory, the one with Chart.yaml.
        version: as its Chart.yaml has it.
        origin: where it came from, for people: "built-in", "a checkout", "chart repository".
    """

    path: Path
    version: str
    origin: str


@dataclass(frozen=True)
class Release:
    """What is to be installed of a chart, and as what.

    Attributes:
        values: files, later wins.
        set_files: files whose text becomes a value, by that value's key in the syntax of Helm's --set-file.
        replaced: values by dotted key, each in place of all that the files have there, where a file would be merged.
    """

    name: str
    namespace: str
    values: tuple[Path, ...]
    set_files: Mapping[str, Path] = field(default_factory=dict)
    replaced: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """The release's values as arguments for Helm."""
        given = [f"--values={path}" for path in self.values]
        # To Helm a bare comma starts the next key.
        for key, path in self.set_files.items():
            given.append(f"--set-file={key}=" + str(path).replace(",", r"\,"))
        given += [f"--set-json={key}={json.dumps(value)}" for key, value in self.replaced.items()]
        return given


def chart_directory(path: Path) -> Path:
    """Where the chart is in a directory that is one, or in a checkout of the upstream project.

    Raises:
        HarnessError: there is none.
    """
    for place in (path, path / CHART_NAME):
        if (place / "Chart.yaml").is_file():
            return place
    raise HarnessError(f"{path} is no chart: it has no Chart.yaml, nor has its directory {CHART_NAME}.")


def load_chart(path: Path, *, scratch: Path, origin: str = "a checkout") -> Chart:
    """The chart in a directory, or in the directory `jupyterhub` of a checkout of the upstream project.

    A checkout lacks what upstream's release tool adds. The schema is one such thing: it is generated from
    values.schema.yaml, into a copy under `scratch`, and the checkout stays as it is. Image tags are the other: there
    they read `set-by-chartpress`. Nothing is done about those, because the harness puts images into the cluster under
    whatever names the chart renders (see `images`).

    Raises:
        HarnessError: there is no chart, or its Chart.yaml or its schema cannot be read.
    """
    directory = chart_directory(path)
    about = _read_yaml(directory / "Chart.yaml")
    if not isinstance(about, dict) or about.get("name") != CHART_NAME or "version" not in about:
        raise HarnessError(f"{directory / 'Chart.yaml'}: expected a name, {CHART_NAME}, and a version.")
    if (directory / "values.schema.yaml").is_file() and not (directory / "values.schema.json").is_file():
        schema = _read_yaml(directory / "values.schema.yaml")
        copy = scratch / CHART_NAME
        shutil.rmtree(copy, ignore_errors=True)
        directory = Path(shutil.copytree(directory, copy))
        (directory / "values.schema.json").write_text(json.dumps(schema))
    return Chart(directory, str(about["version"]), origin)


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HarnessError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
