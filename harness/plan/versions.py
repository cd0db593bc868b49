"""images/versions.toml: every version that a run is made of."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError
from harness.base.shell import CommandError, run

IMAGES = Path(__file__).parents[2] / "images"


@dataclass(frozen=True)
class Versions:
    """What a versions file says, by table and name."""

    path: Path
    _content: Mapping[str, Any]

    def get(self, table: str, name: str) -> str:
        """One version or location.

        Args:
            table: dotted, as the file has it: `python.hub`.

        Raises:
            HarnessError: the file does not have it, or as something else than a text.
        """
        found = self.table(table).get(name)
        if found is None:
            raise HarnessError(f"{self.path}: [{table}] lacks {name}")
        return found

    def table(self, table: str) -> dict[str, str]:
        """All texts of one table, by name.

        Raises:
            HarnessError: there is no such table, or it has something else than texts.
        """
        found: Any = self._content
        for key in table.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise HarnessError(f"{self.path}: there is no table [{table}]")
        for name, value in found.items():
            if not isinstance(value, str):
                raise HarnessError(f"{self.path}: [{table}] {name}: expected a text, found {value!r}")
        return dict(found)

    def with_kubernetes(self, version: str) -> Versions:
        """The same, but the published node image and kubectl are of another version of Kubernetes."""
        image = self.get("published.images", "node").rpartition(":")[0]
        content = copy.deepcopy(dict(self._content))
        content["published"]["images"]["node"] = f"{image}:v{version}"
        content["published"]["tools"]["kubectl"]["version"] = version
        return Versions(self.path, content)

    def requirements(self, table: str) -> str:
        """A table of Python packages as pip takes them on its command line."""
        return " ".join(f"{name}=={version}" for name, version in sorted(self.table(table).items()))


def read_versions(path: Path = IMAGES / "versions.toml") -> Versions:
    """The versions that a file pins.

    Raises:
        HarnessError: it cannot be read, or is not TOML (the line is named).
    """
    try:
        return Versions(path, tomllib.loads(path.read_text()))
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path} is not TOML: {error}") from error


def commit(checkout: Path) -> str:
    """The commit that a checkout is at, and whether anything is changed in it; empty where git cannot say."""
    try:
        at = run(["git", "-C", checkout, "rev-parse", "--short", "HEAD"], timeout=10).strip()
        changed = run(["git", "-C", checkout, "status", "--porcelain"], timeout=10).strip()
    except CommandError:
        return ""
    return f"{at} and changes" if changed else at


def check_pins(versions: Versions, images: Path) -> None:
    """See that go.mod and package.json pin what the versions file says.

    Raises:
        HarnessError: one of them has another version, or none.
    """
    wanted = versions.table("go")
    required: dict[str, str] = {}
    for file in sorted(images.glob("go/*/go.mod")):
        required |= dict(re.findall(r"^(?:require)?\s+(\S+) v(\S+)", file.read_text(), re.MULTILINE))
    _compare(versions, "go", {module: required.get(module) for module in wanted}, "go/*/go.mod")
    package = json.loads((images / "npm/proxy/package.json").read_text())
    packages = {**package["dependencies"], **package.get("optionalDependencies", {})}
    _compare(versions, "npm", {name: packages.get(name) for name in versions.table("npm")}, "npm/proxy/package.json")


def _compare(versions: Versions, table: str, found: Mapping[str, str | None], where: str) -> None:
    for name, wanted in versions.table(table).items():
        if found[name] != wanted:
            raise HarnessError(
                f"{versions.path} pins {name} at {wanted}, and {where} has {found[name] or 'no such dependency'}.\n"
                "Bring them to the same version, each with its own tool (go get -tool, npm install)."
            )
