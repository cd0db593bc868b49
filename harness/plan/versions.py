"""images/versions.toml: every version that a run is made of."""

from __future__ import annotations

import copy
import dataclasses
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
class ServiceImage:
    """Sources of the image of a service or an add-on: the published one, and the parts of ours.

    Attributes:
        published: full name.
        base: the artifact that ours is FROM; empty for none.
        packages: table of its Python packages; empty for none.
        programs: Go programs, separated by spaces, that are compiled from go/NAME; empty for none.
        maven: table of the one Maven artifact that its Dockerfile gets; empty for none.
    """

    published: str
    base: str = ""
    packages: str = ""
    programs: str = ""
    maven: str = ""


@dataclass(frozen=True)
class Versions:
    """Content of a versions file, by table and name."""

    path: Path
    _content: Mapping[str, Any]

    def get(self, table: str, name: str) -> str:
        """Return one version or location.

        Args:
            table: dotted, as the file has it: `python.hub`.

        Raises:
            HarnessError: the file lacks it, or has a value that is not a text.
        """
        found = self.table(table).get(name)
        if found is None:
            raise HarnessError(f"{self.path}: [{table}] lacks {name}")
        return found

    def table(self, table: str) -> dict[str, str]:
        """Return all texts of one table, by name.

        Raises:
            HarnessError: there is no such table, or it has a value that is not a text.
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

    def services(self) -> dict[str, ServiceImage]:
        """Return the sources of the image of each service, by name.

        Raises:
            HarnessError: a service lacks its published image, or has a key that no service has.
        """
        return self._images_in("services")

    def addons(self) -> dict[str, ServiceImage]:
        """Return the sources of the image of each add-on of the cluster, by name.

        Raises:
            HarnessError: as `services`.
        """
        return self._images_in("addons")

    def _images_in(self, table: str) -> dict[str, ServiceImage]:
        known = [field.name for field in dataclasses.fields(ServiceImage)]
        found = {}
        for name in self._content.get(table, {}):
            given = self.table(f"{table}.{name}")
            if unknown := sorted(given.keys() - known):
                raise HarnessError(f"{self.path}: [{table}.{name}] has {unknown[0]}; expected {', '.join(known)}")
            found[name] = ServiceImage(**{**given, "published": self.get(f"{table}.{name}", "published")})
        return found

    def node_image(self) -> str:
        """Return the published node image, by digest where upstream states that of its version."""
        image = self.get("published.images", "node")
        digest = self.table("published.node_digests").get(image.rpartition(":v")[2])
        return f"{image}@{digest}" if digest else image

    def with_kubernetes(self, version: str) -> Versions:
        """Return the same with the published node image and kubectl of another version of Kubernetes."""
        image = self.get("published.images", "node").rpartition(":")[0]
        content = copy.deepcopy(dict(self._content))
        content["published"]["images"]["node"] = f"{image}:v{version}"
        content["published"]["tools"]["kubectl"]["version"] = version
        return Versions(self.path, content)

    def requirements(self, table: str) -> str:
        """Return a table of Python packages as arguments of pip."""
        return " ".join(f"{name}=={version}" for name, version in sorted(self.table(table).items()))


def read_versions(path: Path = IMAGES / "versions.toml") -> Versions:
    """Read the versions that a file pins.

    Raises:
        HarnessError: it cannot be read, or is not TOML; the message names the line.
    """
    try:
        return Versions(path, tomllib.loads(path.read_text()))
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path} is not TOML: {error}") from error


def commit(checkout: Path) -> str:
    """Return the commit of a checkout, with "and changes" where it has any; empty if git does not know it."""
    try:
        at = run(["git", "-C", checkout, "rev-parse", "--short", "HEAD"], timeout=10).strip()
        changed = run(["git", "-C", checkout, "status", "--porcelain"], timeout=10).strip()
    except CommandError:
        return ""
    return f"{at} and changes" if changed else at


def check_pins(versions: Versions, images: Path) -> None:
    """Check that go.mod and package.json pin the versions of the versions file.

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
