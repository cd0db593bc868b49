"""The Python and the packages that a checkout's program runs with."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from packaging.specifiers import SpecifierSet

from harness.base.errors import EnvironmentFault
from harness.program.environment import DIRECTORY, KEPT, prepare
from harness.program.errors import PythonMissingError
from harness.program.pythons import find_python

OURS = Path(__file__).parent / "checkout"
VERSION = ".".join(str(part) for part in sys.version_info[:3])


def python(directory: Path, name: str, version: str) -> Path:
    """Make a Python that tells another version than its own."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    code = "import platform; platform.python_version = lambda: '{version}'; exec(__import__('sys').argv[1])"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code.format(version=version)}" "$3"\n')
    path.chmod(0o755)
    return path


class TestPython:
    def test_the_one_that_runs_this_if_it_will_do(self) -> None:
        found = find_python(SpecifierSet(f"=={VERSION}"), {})
        assert found.executable == Path(sys.executable)
        assert found.version == VERSION
        assert found.environment["python_full_version"] == VERSION

    def test_newest_on_the_path(self, tmp_path: Path) -> None:
        for minor in (98, 97, 99):
            python(tmp_path, f"python3.{minor}", f"3.{minor}.1")
        found = find_python(SpecifierSet(">=3.97,<3.99"), {"PATH": str(tmp_path), "HOME": "/nowhere"})
        assert found.executable == tmp_path / "python3.98"
        assert found.environment["python_full_version"] == "3.98.1"

    def test_one_of_pyenv(self, tmp_path: Path) -> None:
        path = python(tmp_path / ".pyenv/versions/3.98.2/bin", "python3", "3.98.2")
        assert find_python(SpecifierSet(">=3.98"), {"HOME": str(tmp_path)}).executable == path

    def test_one_that_does_not_run_is_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        broken = tmp_path / "bin/python3.99"
        broken.write_text("#!/bin/sh\nexit 127\n")
        broken.chmod(0o755)
        python(tmp_path / "bin", "python3.98", "3.98.0")
        found = find_python(SpecifierSet(">=3.98"), {"PATH": str(tmp_path / "bin"), "HOME": "/nowhere"})
        assert found.executable.name == "python3.98"

    def test_none(self, tmp_path: Path) -> None:
        python(tmp_path, "python3.98", "3.98.0")
        with pytest.raises(PythonMissingError) as error:
            find_python(SpecifierSet(">=3.30,<3.32"), {"PATH": str(tmp_path), "HOME": "/nowhere"})
        first, second = str(error.value).splitlines()
        assert first.startswith("no Python <3.32,>=3.30, which the lock of the checkout asks for, on PATH or among")
        assert f"{VERSION} ({Path(sys.executable).resolve()})" in first
        assert f"3.98 ({tmp_path / 'python3.98'})" in first
        assert second.startswith("Get one with the system's packages (python3.30), ")


class TestPackages:
    def test_that_cannot_be_had(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
        with pytest.raises(EnvironmentFault) as error:
            prepare(OURS, tmp_path)
        first, second = str(error.value).splitlines()
        assert first.startswith(
            "the packages of the checkout's lock cannot be installed: ERROR: No matching distribution"
        )
        assert second.startswith("They come from where pip's settings (PIP_*, pip.conf) say, once; ")
        assert not [path for path in (tmp_path / DIRECTORY).iterdir() if path.suffix != ".lock"]

    def test_that_the_lock_lacks(self, tmp_path: Path) -> None:
        checkout = Path(shutil.copytree(OURS, tmp_path / "checkout"))
        lock = checkout / "uv.lock"
        lock.write_text(lock.read_text().replace('name = "pulumi"', 'name = "another"'))
        with pytest.raises(EnvironmentFault, match=r"line 3: imports pulumi, for which uv.lock has no package\n"):
            prepare(checkout, tmp_path / "cache")

    def test_while_another_run_builds_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.program.environment.digest", lambda *_: "key")
        (tmp_path / DIRECTORY).mkdir()
        with (
            FileLock(tmp_path / DIRECTORY / "key.lock"),
            pytest.raises(EnvironmentFault, match="another run has been building this environment for 0 s\n"),
        ):
            prepare(OURS, tmp_path, timeout=0.1)

    def test_only_the_newest_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for age in range(KEPT + 2):
            path = tmp_path / DIRECTORY / f"key{age}"
            path.mkdir(parents=True)
            os.utime(path, (1000 - age, 1000 - age))
        abandoned = tmp_path / DIRECTORY / "tmp-1"
        abandoned.mkdir()
        os.utime(abandoned, (0, 0))
        # It is there already, and the oldest until it is used.
        monkeypatch.setattr("harness.program.environment.digest", lambda *_: f"key{KEPT + 1}")
        prepare(OURS, tmp_path)
        left = {path.name for path in (tmp_path / DIRECTORY).iterdir() if path.is_dir()}
        assert left == {f"key{KEPT + 1}", *(f"key{age}" for age in range(KEPT - 1))}

    def test_those_in_use_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(KEPT + 2):
            (tmp_path / DIRECTORY / f"key{number}").mkdir(parents=True)
        monkeypatch.setattr("harness.program.environment.digest", lambda *_: "key0")
        prepare(OURS, tmp_path)
        left = [path for path in (tmp_path / DIRECTORY).iterdir() if path.is_dir()]
        assert len(left) == KEPT + 2, "another run may be evaluating in each of them"
