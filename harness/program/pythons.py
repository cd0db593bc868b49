"""The Pythons of this machine, and the one that a checkout's lock file is for."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from harness.base.shell import CommandError, run
from harness.program.errors import PythonMissingError

PYENV = Path(".pyenv/versions")
PROBE = """
import json, os, platform, sys
print(json.dumps({
    "implementation_name": sys.implementation.name,
    "implementation_version": platform.python_version(),
    "os_name": os.name,
    "platform_machine": platform.machine(),
    "platform_python_implementation": platform.python_implementation(),
    "platform_release": platform.release(),
    "platform_system": platform.system(),
    "platform_version": platform.version(),
    "python_full_version": platform.python_version(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform,
    "base_prefix": os.path.realpath(sys.base_prefix),
}))
"""


@dataclass(frozen=True)
class Python:
    """An interpreter.

    Attributes:
        environment: what markers of packages are decided by.
        base_prefix: directory of its standard library.
    """

    executable: Path
    version: str
    environment: Mapping[str, str]
    base_prefix: Path

    @property
    def label(self) -> str:
        """Tell apart interpreters that need an environment of their own."""
        fields = ("platform_python_implementation", "python_full_version", "sys_platform", "platform_machine")
        return " ".join(self.environment[field] for field in fields)


def find_python(accepted: SpecifierSet, environ: Mapping[str, str] = os.environ) -> Python:
    """Return a Python in a range: the one that runs this if it is, else the newest on PATH, else of pyenv's.

    Args:
        environ: where PATH and HOME are.

    Raises:
        PythonMissingError: there is none; the message lists those that are there.
    """
    found: dict[Path, str] = {}
    for executable, hint in _candidates(environ):
        real = executable.resolve()
        if real in found:
            continue
        if hint and not _may_be_in(hint, accepted):
            found[real] = hint
            continue
        if python := _probe(executable):
            found[real] = python.version
            if accepted.contains(python.version):
                return python
    listed = ", ".join(f"{version} ({path})" for path, version in found.items()) or "none"
    wanted = _an_example(accepted)
    raise PythonMissingError(
        f"no Python {accepted}, which the lock of the checkout asks for, on PATH or among pyenv's; found {listed}\n"
        f"Get one with the system's packages (python{wanted}), uv python install {wanted}, or pyenv install {wanted}"
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Yield interpreters in the order of preference, each with the version in its name, if there is one."""
    yield Path(sys.executable), ".".join(str(part) for part in sys.version_info[:3])
    on_path: list[tuple[Path, str]] = []
    for directory in environ.get("PATH", "").split(os.pathsep):
        # Most of pyenv's shims are for versions that are not switched on; the versions themselves come below.
        if not directory or Path(directory).name == "shims":
            continue
        for path in sorted(Path(directory).glob("python3*")):
            if match := re.fullmatch(r"python(3(?:\.\d+)?)", path.name):
                on_path.append((path, match[1] if "." in match[1] else ""))
    yield from sorted(on_path, key=lambda each: _order(each[1]), reverse=True)
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    of_pyenv = [(path / "bin/python3", path.name) for path in (home / PYENV).glob("3.*")]
    for path, version in sorted(of_pyenv, key=lambda each: _order(each[1]), reverse=True):
        if path.is_file():
            yield path, version


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _may_be_in(version: str, accepted: SpecifierSet) -> bool:
    """Tell a version, which may lack its last part, that is in the range or may be."""
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        return True
    patches = [version] if version.count(".") > 1 else [f"{version}.{patch}" for patch in (0, 99)]
    return any(accepted.contains(each) for each in patches)


def _an_example(accepted: SpecifierSet) -> str:
    minors = [f"3.{minor}" for minor in range(8, 40) if accepted.contains(f"3.{minor}.99")]
    return minors[0] if minors else str(accepted)


def _probe(executable: Path) -> Python | None:
    """Return an interpreter, if it runs."""
    try:
        answer = json.loads(run([executable, "-I", "-c", PROBE], timeout=20, what=f"{executable}"))
    except (CommandError, json.JSONDecodeError):
        return None
    base_prefix = Path(answer.pop("base_prefix"))
    return Python(executable, str(Version(answer["python_full_version"])), answer, base_prefix)
