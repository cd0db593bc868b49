"""A checkout's uv.lock: names, versions and hashes of the packages that its programs import.

Addresses are left out: where packages come from is for the settings of whoever installs them.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from harness.base.errors import EnvironmentFault
from harness.program.closure import Imports, Place

LOCK = "uv.lock"
DISTRIBUTIONS = {
    "Crypto": "pycryptodome",
    "OpenSSL": "pyopenssl",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "dateutil": "python-dateutil",
    "dns": "dnspython",
    "dotenv": "python-dotenv",
    "git": "gitpython",
    "github": "pygithub",
    "grpc": "grpcio",
    "hcl": "pyhcl",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "parliament": "ol-parliament",
    "pkg_resources": "setuptools",
    "slugify": "python-slugify",
    "yaml": "pyyaml",
}
"""The package of a module, where the one is not called like the other."""


@dataclass(frozen=True)
class Pin:
    """A package as the lock has it.

    Attributes:
        hashes: of its wheels or, if it has none, of its source; each as algorithm:digest.
        is_source: there is no wheel, so that installing it builds it.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    is_source: bool = False

    def __str__(self) -> str:
        """Return the line of a requirements file."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash={each}" for each in self.hashes)])


RELEASED = {
    ("parliament", "1.7.0"): Pin(
        "ol-parliament", "1.7.0", ("sha256:9ecc61c90df02d96444c5d8ff825db5bab0f37cefaddbcb33db90aabceca1b4a",)
    ),
}
"""Packages that locks until May 2026 take from a Git repository, without a hash, as they were published later."""


@dataclass(frozen=True)
class Lock:
    """A lock file.

    Attributes:
        file: how a message names it.
        requires_python: versions of Python that it is for.
        packages: its tables by package name; more than one where versions differ between platforms.
    """

    file: Path
    requires_python: SpecifierSet
    packages: Mapping[str, tuple[Mapping[str, Any], ...]]

    def source_roots(self, checkout: Path) -> list[Path]:
        """Return the directories of the checkout that are installed as packages in place, beside its root."""
        named = (
            package["source"].get("editable") or package["source"].get("directory")
            for several in self.packages.values()
            for package in several
        )
        return sorted(root for name in named if name and (root := (checkout / name).resolve()) != checkout.resolve())

    def pins(self, imports: Imports, environment: Mapping[str, str]) -> tuple[Pin, ...]:
        """Return what has to be installed for some imports, sorted by name.

        Args:
            environment: of the Python that will run, by the names that markers have.

        Raises:
            EnvironmentFault: the lock lacks a package that is imported, or has one without a hash.
        """
        return _Selection(self, environment).of(imports)


def read_lock(checkout: Path) -> Lock:
    """Read the lock file of a checkout.

    Raises:
        EnvironmentFault: there is none, or it is not a lock file of uv.
    """
    path = checkout / LOCK
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EnvironmentFault(
            f"{path}: cannot be read: {error.strerror}\n"
            "The programs of the checkout run with the packages of its lock; is this a checkout of "
            "mitodl/ol-infrastructure?"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EnvironmentFault(f"{path}: expected a lock file of uv, found no TOML: {error}") from error
    packages: dict[str, tuple[Mapping[str, Any], ...]] = {}
    try:
        requires_python = SpecifierSet(content["requires-python"])
        for package in content["package"]:
            packages[package["name"]] = (*packages.get(package["name"], ()), package)
            package["source"].get("editable")
    except (KeyError, TypeError, AttributeError, InvalidSpecifier) as error:
        raise EnvironmentFault(f"{path}: expected a lock file of uv with packages; found none: {error}") from error
    return Lock(path, requires_python, packages)


def requirements(pins: tuple[Pin, ...]) -> str:
    """Return the requirements file that installs these and nothing else."""
    return "".join(f"{pin}\n" for pin in pins)


def digest(pins: tuple[Pin, ...], python: str) -> str:
    """Return the key of the environment that these make with a version of Python."""
    return hashlib.sha256(f"{python}\n{requirements(pins)}".encode()).hexdigest()[:16]


class _Selection:
    def __init__(self, lock: Lock, environment: Mapping[str, str]) -> None:
        self._lock = lock
        self._environment = dict(environment)
        self._pins: dict[str, Pin] = {}
        self._walked: set[tuple[str, str]] = set()

    def of(self, imports: Imports) -> tuple[Pin, ...]:
        for module, place in imports.required.items():
            name = self._distribution(module)
            if not name:
                raise EnvironmentFault(
                    f"{place}: imports {module}, for which {LOCK} has no package\n"
                    f"Add it to pyproject.toml of the checkout, and lock it with: uv lock"
                )
            self._take(name, {}, place)
        for module, place in imports.optional.items():
            if name := self._distribution(module):
                self._take(name, {}, place)
        return tuple(self._pins[name] for name in sorted(self._pins))

    def _distribution(self, module: str) -> str | None:
        """Return the package that has a module, if the lock has it."""
        normal = re.sub(r"[-_.]+", "-", module).lower()
        names = (DISTRIBUTIONS.get(module, normal), normal, f"python-{normal}", f"py{normal}")
        return next((name for name in names if name in self._lock.packages), None)

    def _take(self, name: str, wanted: Mapping[str, Any], place: Place) -> None:
        """Take a package, and all that it needs.

        Args:
            wanted: the table of the dependency that asks for it.
        """
        package = self._package(name, wanted, place)
        extras = wanted.get("extra", [])
        for extra in ["", *extras]:
            if (name, extra) in self._walked:
                continue
            self._walked.add((name, extra))
            needed = package.get("optional-dependencies", {}).get(extra, []) if extra else package.get("dependencies")
            for dependency in needed or []:
                if self._applies(dependency.get("marker"), extra):
                    self._take(dependency["name"], dependency, place)
        if pin := RELEASED.get((name, package.get("version", ""))):
            self._pins[name] = pin
        elif name not in self._pins and "registry" in package["source"]:
            self._pins[name] = _pin(package, place)
        elif "registry" not in package["source"] and not _is_in_place(package):
            kind = ", ".join(package["source"])
            raise EnvironmentFault(
                f"{place}: needs {name}, which {LOCK} takes from somewhere that has no hash ({kind})\n"
                "Only packages of a registry, and those in the checkout itself, can be installed for an evaluation."
            )

    def _package(self, name: str, wanted: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        version = wanted.get("version")
        for package in self._lock.packages.get(name, ()):
            markers = package.get("resolution-markers", [])
            if version in (None, package.get("version")) and (
                not markers or any(self._applies(marker) for marker in markers)
            ):
                return package
        raise EnvironmentFault(
            f"{place}: needs {name} {version or ''}".rstrip() + f", which {LOCK} lacks\n"
            "The lock is not whole; mend it in the checkout with: uv lock"
        )

    def _applies(self, marker: str | None, extra: str = "") -> bool:
        return marker is None or Marker(marker).evaluate({**self._environment, "extra": extra})


def _is_in_place(package: Mapping[str, Any]) -> bool:
    return not {"editable", "directory", "virtual"}.isdisjoint(package["source"])


def _pin(package: Mapping[str, Any], place: Place) -> Pin:
    wheels = tuple(_hashes(package.get("wheels", [])))
    source = tuple(_hashes([package["sdist"]])) if "sdist" in package else ()
    if not (wheels or source):
        raise EnvironmentFault(
            f"{place}: needs {package['name']}, of which {LOCK} has no hash\n"
            "Only packages with hashes are installed; lock it anew with: uv lock"
        )
    return Pin(package["name"], package["version"], wheels or source, is_source=not wheels)


def _hashes(files: list[Mapping[str, str]]) -> Iterator[str]:
    yield from sorted({file["hash"] for file in files if "hash" in file})
