"""A chart, which is JupyterHub's unless another is named, and a release of it."""

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
"""Key of the custom spawner among the values, in the syntax of Helm's --set-file."""


@dataclass(frozen=True)
class Chart:
    """An unpacked chart.

    Attributes:
        path: its directory, the one with Chart.yaml.
        version: the one in its Chart.yaml.
        origin: its source, for messages: "the built-in chart", "a checkout", "chart repository".
    """

    path: Path
    version: str
    origin: str


@dataclass(frozen=True)
class Release:
    """A release to install: its name, namespace and values.

    Attributes:
        values: files; later ones win.
        set_files: files whose text becomes a value, by the value's key in the syntax of Helm's --set-file.
        replaced: values by dotted key; each replaces the files' value, where a further file would be merged with it.
    """

    name: str
    namespace: str
    values: tuple[Path, ...]
    set_files: Mapping[str, Path] = field(default_factory=dict)
    replaced: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """Return the release's values as arguments for Helm."""
        given = [f"--values={path}" for path in self.values]
        # To Helm a bare comma starts the next key.
        for key, path in self.set_files.items():
            given.append(f"--set-file={key}=" + str(path).replace(",", r"\,"))
        given += [f"--set-json={key}={json.dumps(value)}" for key, value in self.replaced.items()]
        return given


def chart_directory(path: Path) -> Path:
    """Return the chart's directory: the given one, or the one in a checkout of the upstream project.

    Raises:
        HarnessError: there is no chart.
    """
    for place in (path, path / CHART_NAME):
        if (place / "Chart.yaml").is_file():
            return place
    raise HarnessError(f"{path} is no chart: it has no Chart.yaml, nor has its directory {CHART_NAME}.")


def load_chart(path: Path, *, scratch: Path, origin: str = "a checkout", name: str = CHART_NAME) -> Chart:
    """Load the chart in a directory, or in the directory `jupyterhub` of a checkout of the upstream project.

    A checkout lacks two things that upstream's release tool adds. The schema is generated here from values.schema.yaml,
    in a copy under `scratch`: the checkout stays as it is. Image tags are `set-by-chartpress` and may stay so, because
    the harness puts images into the cluster under the names that the chart renders (see `images`).

    Args:
        name: of another chart than JupyterHub's, which its Chart.yaml has.

    Raises:
        HarnessError: there is no chart, or its Chart.yaml or its schema is broken.
    """
    directory = chart_directory(path)
    about = _read_yaml(directory / "Chart.yaml")
    if not isinstance(about, dict) or about.get("name") != name or "version" not in about:
        raise HarnessError(f"{directory / 'Chart.yaml'}: expected a name, {name}, and a version.")
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
