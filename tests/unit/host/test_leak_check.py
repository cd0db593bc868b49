"""What is left of a run is found, and what is another run's is not taken for it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from harness.base.errors import EnvironmentFault
from harness.base.shell import MARK
from harness.host import leak_check as leftovers
from harness.host.leak_check import left, mark, scratch_prefix, scratch_root
from tests.unit.fakes import Program

DOCKER = """
case "$*" in
  "ps "*label=ol-jupyterhub-harness=jh-1*) cat "$here/containers" ;;
  "network ls"*label=ol-jupyterhub-harness=jh-1*) cat "$here/networks" ;;
  "volume ls"*) cat "$here/volumes" ;;
esac
"""
Looking = Callable[..., list[str]]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A docker with nothing in it."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    fake = Program(tmp_path / "bin", "docker", DOCKER)
    for name in ("containers", "networks", "volumes"):
        (tmp_path / "bin" / name).touch()
    return fake


@pytest.fixture
def look(tmp_path: Path, docker: Program, monkeypatch: pytest.MonkeyPatch) -> Looking:
    """Looks for what is left of the run jh-1, whose temporary files are nobody else's."""
    monkeypatch.setattr(leftovers, "GRACE", 0.0)
    monkeypatch.setattr(leftovers, "LONGEST", 1000)
    for name in ("state", "tmp"):
        (tmp_path / name).mkdir()
    for name in ("lock", "identity"):
        (tmp_path / "state" / name).touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    def look(*, kept: bool = False, volumes: Iterable[str] = ()) -> list[str]:
        return left("jh-1", tmp_path / "state", kept=kept, volumes=set(volumes))

    return look


@pytest.fixture
def sleeper() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes that sleep, with more environment and arguments; they end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def sleeper(*args: str, **env: str) -> subprocess.Popen[bytes]:
        code = "print(flush=True); import time; time.sleep(60)"
        command = [sys.executable, "-S", "-c", code, *args]
        process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout
        process.stdout.readline()  # its command line is its own by now
        return process

    yield sleeper
    for process in started:
        process.kill()
        process.communicate()


class TestNothing:
    def test_left(self, look: Looking) -> None:
        assert look() == []

    def test_of_another_run(self, look: Looking, tmp_path: Path, sleeper: Callable[..., object]) -> None:
        (tmp_path / "tmp/harness-1-browser-x").mkdir()
        # Of a process of this number in another container.
        (tmp_path / f"tmp/harness-{os.getpid()}-0-browser-x").mkdir()
        sleeper(**{MARK: "jh-1:1"})
        assert look() == []

    def test_of_a_kept_one(self, look: Looking, tmp_path: Path) -> None:
        (tmp_path / "bin/containers").write_text("jh-1-moto\tUp 2 minutes\n")
        (tmp_path / "state/secrets.json").touch()
        assert look(kept=True) == []


class TestLeft:
    def test_in_docker(self, look: Looking, tmp_path: Path) -> None:
        (tmp_path / "bin/containers").write_text("jh-1-moto\tUp 2 minutes\njh-1-worker\tExited (137)\n")
        (tmp_path / "bin/networks").write_text("jh-1\t/checkout\tno\t0123\tbox\t2026-01-01 00:00:00 +0000 UTC\n")
        (tmp_path / "bin/volumes").write_text("theirs\nmine\n")
        assert look(volumes={"mine", "gone"}) == [
            "container jh-1-moto (Up 2 minutes)",
            "container jh-1-worker (Exited (137))",
            "network jh-1",
            "volume mine",
        ]

    def test_docker_is_dead(self, look: Looking, tmp_path: Path) -> None:
        Program(tmp_path / "bin", "docker", "echo Cannot connect >&2; exit 1")
        assert look() == ["perhaps containers of jh-1: Docker does not answer (docker ps: exit code 1.)"]

    @pytest.mark.parametrize("kept", [False, True])
    def test_a_process_with_the_mark(
        self, look: Looking, sleeper: Callable[..., subprocess.Popen[bytes]], kept: bool
    ) -> None:
        process = sleeper(**{MARK: mark("jh-1")})
        [line] = look(kept=kept)
        assert line.startswith(f"process {process.pid}: {sys.executable} -S -c ")

    def test_a_process_in_a_scratch_directory(
        self, look: Looking, sleeper: Callable[..., subprocess.Popen[bytes]]
    ) -> None:
        process = sleeper(f"--user-data-dir=/tmp/{scratch_prefix()}browser-x/profile")
        [line] = look()
        assert line.startswith(f"process {process.pid}: ")

    def test_a_process_that_is_just_ending_is_not(
        self, look: Looking, sleeper: Callable[..., subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leftovers, "GRACE", 20.0)
        sleeper(**{MARK: mark("jh-1")}).kill()
        assert look() == []

    def test_files(self, look: Looking, tmp_path: Path) -> None:
        (tmp_path / "state/secrets.json").touch()
        (tmp_path / f"tmp/{scratch_prefix()}browser-x").mkdir()
        assert look() == [
            f"directory {tmp_path}/tmp/{scratch_prefix()}browser-x",
            f"file {tmp_path}/state/secrets.json",
        ]

    def test_files_where_tmpdir_is_long(self, look: Looking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(leftovers, "LONGEST", 0)
        monkeypatch.setattr(leftovers, "SHORT", tmp_path / "short")
        (tmp_path / f"short/{scratch_prefix()}browser-x").mkdir(parents=True)
        assert look() == [f"directory {tmp_path}/short/{scratch_prefix()}browser-x"]

    def test_a_mount(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        point = str(tmp_path / "a state/certs.d").replace(" ", r"\040")
        text = f"22 1 0:20 / / rw - ext4 /dev/a rw\n36 22 0:30 / {point} rw - tmpfs none rw\n"
        monkeypatch.setattr(Path, "read_text", lambda _: text)
        assert list(leftovers._mounts(tmp_path / "a state")) == [f"mount {tmp_path}/a state/certs.d"]
        assert list(leftovers._mounts(tmp_path / "another")) == []


class TestScratch:
    """A browser's socket is below it, and the path of a socket is short."""

    def test_is_where_it_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
        assert scratch_root() == Path("/var/tmp")

    def test_is_elsewhere_if_that_is_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tempfile, "tempdir", f"/{'x' * 99}")
        assert scratch_root() == Path("/tmp")

    def test_has_no_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tempfile, "tempdir", f"/{'x' * 99}")
        monkeypatch.setattr(leftovers, "SHORT", tmp_path / "none")
        with pytest.raises(EnvironmentFault, match=r"none cannot be written\. Set TMPDIR to a path of 24 characters"):
            scratch_root()
