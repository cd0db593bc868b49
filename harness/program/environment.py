"""Virtual environments with the packages of a checkout's lock file, kept in the cache and shared by all checkouts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness.base.errors import EnvironmentFault
from harness.base.files import last_used
from harness.base.shell import CommandError, run
from harness.program.closure import imports
from harness.program.lock import Pin, digest, read_lock, requirements
from harness.program.pythons import Python, find_python

DIRECTORY = "program-environments"
KEPT = 4
"""Environments that stay, the ones that were used last."""
IN_USE = 1200.0
"""Seconds in which another run may still evaluate in an environment that it has asked for."""
INSTALL_TIMEOUT = 600.0
ABANDONED = 24 * 3600.0
"""Seconds after which a scratch directory is what a killed build left behind."""
FOR_PIP = ("HOME", "LANG", "NETRC", "PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR")
"""Variables that pip gets beside PIP_*, XDG_* and those of proxies; the source of a package that it builds runs
setup.py, and has no use for other people's keys."""
NOT_FOR_PIP = ("PIP_CONSTRAINT", "PIP_REQUIREMENT", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_USER")
"""Settings for the packages of the harness itself; here the lock decides."""


@dataclass(frozen=True)
class Environment:
    """An environment that is built.

    Attributes:
        directory: holds the environment, and the bytecode of all that was imported in it.
        source_roots: directories of the checkout that are importable beside `src`.
    """

    directory: Path
    base_prefix: Path
    source_roots: tuple[Path, ...] = ()

    @property
    def python(self) -> Path:
        return self.directory / "bin/python"

    @property
    def bytecode(self) -> Path:
        return self.directory / "bytecode"


def prepare(checkout: Path, cache: Path, timeout: float = INSTALL_TIMEOUT) -> Environment:
    """Return the environment that a checkout's programs and pipelines need, built if it is not in the cache.

    Args:
        cache: the harness's cache directory.
        timeout: seconds for building it.

    Raises:
        ProgramError: a file is not Python.
        EnvironmentFault: no lock, no Python for it, a package that it lacks, or packages that cannot be had.
    """
    lock = read_lock(checkout)
    python = find_python(lock.requires_python)
    roots = lock.source_roots(checkout)
    pins = lock.pins(imports(checkout, roots), python.environment)
    directory = cache / DIRECTORY / digest(pins, python.label)
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(directory.with_suffix(".lock"), timeout=timeout):
            if not directory.is_dir():
                _build(directory, python, pins, timeout)
            os.utime(directory)
    except Timeout as error:
        raise EnvironmentFault(
            f"{directory}: another run has been building this environment for {timeout:.0f} s\n"
            "Wait for it, or end it, and run again."
        ) from error
    _prune(directory)
    return Environment(directory, python.base_prefix, tuple(roots))


def _build(directory: Path, python: Python, pins: tuple[Pin, ...], timeout: float) -> None:
    """Build an environment aside, and put it in its place when it is whole."""
    with tempfile.TemporaryDirectory(prefix="tmp-", dir=directory.parent) as scratch:
        aside = Path(scratch, directory.name)
        listed = Path(scratch, "requirements.txt")
        listed.write_text(requirements(pins), encoding="utf-8")
        own_pip = importlib.util.find_spec("pip") is not None
        try:
            bare = ["--without-pip"] if own_pip else []
            run(_cleanly(python.executable, "-I", "-m", "venv", *bare, aside), timeout=timeout, what="python -m venv")
            pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", aside / "bin/python"]
            command = pip if own_pip else [aside / "bin/python", "-m", "pip"]
            run(_cleanly(*command, *_install(pins), "--requirement", listed), timeout=timeout, what="pip install")
        except CommandError as error:
            raise EnvironmentFault(
                f"the packages of the checkout's lock cannot be installed: {_reason(error)}\n"
                "They come from where pip's settings (PIP_*, pip.conf) say, once; then they stay in the cache. Without "
                "them the owners' program cannot be evaluated."
            ) from error
        aside.rename(directory)


def _install(pins: tuple[Pin, ...]) -> list[str]:
    """Return pip's command; bytecode is left out, since what is imported gets it where evaluations look for it."""
    from_source = ",".join(pin.name for pin in pins if pin.is_source)
    return [
        *("install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-compile"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *(("--no-binary", from_source) if from_source else ()),
    ]


def _cleanly(*command: str | Path, environ: Mapping[str, str] = os.environ) -> list[str | Path]:
    """Return a command that runs with pip's settings and nothing else of the caller's environment.

    Only names of variables are in it: a command line is visible to all users, and an index may have a password.
    """
    return ["env", *(f"--unset={name}" for name in environ if not _is_for_pip(name)), *command]


def _is_for_pip(name: str) -> bool:
    is_setting = name in FOR_PIP or name.startswith(("PIP_", "XDG_")) or name.lower().endswith("_proxy")
    return is_setting and name not in NOT_FOR_PIP


def _reason(error: CommandError) -> str:
    """Return pip's last word, which is the one that names the package."""
    lines = [line.strip() for line in error.output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [str(error)])[-1][:300]


def _prune(in_use: Path) -> None:
    """Remove all but the environments that were used last, and what a killed build left behind."""
    for scratch in in_use.parent.glob("tmp-*"):
        if time.time() - scratch.stat().st_mtime > ABANDONED:
            shutil.rmtree(scratch, ignore_errors=True)
    found = [path for path in in_use.parent.iterdir() if path.is_dir() and not path.name.startswith("tmp-")]
    used = {path: last_used(path) for path in found}
    for path in sorted(found, key=lambda path: used[path], reverse=True)[KEPT:]:
        if used[path] > time.time() - IN_USE:
            continue
        lock = FileLock(path.with_suffix(".lock"))
        with (
            suppress(Timeout, FileNotFoundError),
            lock.acquire(timeout=0),
            tempfile.TemporaryDirectory(prefix="tmp-", dir=path.parent) as aside,
        ):
            # Aside first: half of an environment must never be taken for all of it.
            path.rename(Path(aside, path.name))
