"""Postgres: it can read what it is started with, and has the databases that hubs ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.services.container import Content
from harness.services.postgres import Postgres
from tests.unit.fakes import Program


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_its_script_is_readable_to_the_servers_own_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    Program(tmp_path / "bin", "docker")
    Postgres("jh-1", tmp_path, "secret").launch("postgres:17", Content(("jupyterhub",)))
    assert (tmp_path / "databases.sql").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("there", "made"), [("learners", False), ("learner", True)])
def test_a_database_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, made: bool) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    docker = Program(tmp_path / "bin", "docker", f"echo {there}")
    Postgres("jh-1", tmp_path, "secret").ensure_database("learners")
    assert ('CREATE DATABASE "learners"' in " ".join(docker.calls)) is made


def test_failover_ends_one_server_process_and_waits_for_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    docker = Program(
        tmp_path / "bin",
        "docker",
        """case "$*" in
          *"kill -KILL 61") : > "$here/killed" ;;
          # Until its log is read, it takes no session; and then its processes come one after the other.
          *) [ -e "$here/killed" ] || { echo 61; exit; }
             [ -e "$here/once" ] || { : > "$here/once"; echo "in recovery mode" >&2; exit 2; }
             [ -e "$here/twice" ] || { : > "$here/twice"; exit; }
             echo 73 ;;
        esac""",
    )
    Postgres("jh-1", tmp_path, "secret").fail_over()
    assert [call for call in docker.calls if "kill" in call] == ["exec jh-1-postgres sh -c kill -KILL 61"]
    assert len(docker.calls) == 5
