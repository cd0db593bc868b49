"""What the caller's environment sets for other work does not reach a run."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.host import leak_check
from harness.host.isolation import GIVEN_NO_PROXY, isolated
from tests.unit.fakes import Program

NAMES = ("jh-1-registry", "jh-1-moto")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without a word on proxies or Docker."""
    for name in ("NO_PROXY", "no_proxy", "DOCKER_DEFAULT_PLATFORM", GIVEN_NO_PROXY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(leak_check, "LONGEST", 1000)


@contextmanager
def run() -> Iterator[None]:
    before = dict(os.environ)
    with isolated(NAMES):
        yield
    assert dict(os.environ) == before


def configure(tmp_path: Path, settings: dict[str, Any]) -> None:
    (tmp_path / "docker/contexts").mkdir(parents=True)
    (tmp_path / "docker/config.json").write_text(json.dumps(settings))


def seen_by_docker() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(os.environ["DOCKER_CONFIG"], "config.json").read_text())
    return found


class TestProxies:
    @pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
    def test_none_is_asked_for_the_runs_own_addresses(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
        monkeypatch.setenv(name, "corp.example,10.1.2.3")
        with run():
            for each in ("NO_PROXY", "no_proxy"):
                found = os.environ[each].split(",")
                assert found[:2] == ["corp.example", "10.1.2.3"]
                assert {"127.0.0.1", "localhost", "::1", *NAMES} <= set(found)

    def test_of_docker_let_the_nodes_reach_the_registry(self, tmp_path: Path) -> None:
        proxy = {"httpProxy": "http://proxy.example:3128", "noProxy": "corp.example"}
        configure(tmp_path, {"proxies": {"default": proxy}, "currentContext": "mine", "auths": {"a": {}}})
        with run():
            found = seen_by_docker()
            assert found["proxies"]["default"]["httpProxy"] == "http://proxy.example:3128"
            past = found["proxies"]["default"]["noProxy"].split(",")
            assert {"corp.example", *NAMES, "10.96.0.0/16"} <= set(past)
            assert (found["currentContext"], found["auths"]) == ("mine", {"a": {}})
            assert Path(os.environ["DOCKER_CONFIG"], "contexts").is_dir()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["docker"]


class TestDocker:
    def test_images_are_of_this_machines_platform(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
        with run():
            assert "DOCKER_DEFAULT_PLATFORM" not in os.environ

    def test_a_credential_helper_that_is_not_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Program(tmp_path / "bin", "docker-credential-here")
        monkeypatch.setenv("PATH", f"{tmp_path}/bin")
        helpers = {"a.example": "here", "b.example": "gone"}
        configure(tmp_path, {"credsStore": "gone", "credHelpers": helpers, "auths": {"c.example": {}}})
        with run():
            assert seen_by_docker() == {"credHelpers": {"a.example": "here"}, "auths": {"c.example": {}}}

    def test_its_settings_are_in_a_short_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(leak_check, "LONGEST", 0)
        monkeypatch.setattr(leak_check, "SHORT", tmp_path / "short")
        (tmp_path / "short").mkdir()
        configure(tmp_path, {"credsStore": "gone"})
        with run():
            assert Path(os.environ["DOCKER_CONFIG"]).is_relative_to(tmp_path / "short")

    def test_settings_that_work_stay_the_users_own(self, tmp_path: Path) -> None:
        configure(tmp_path, {"auths": {"a": {}}, "currentContext": "default"})
        with run():
            assert os.environ["DOCKER_CONFIG"] == str(tmp_path / "docker")


def test_open_files_are_raised_to_what_is_allowed() -> None:
    code = (
        "import resource\n"
        "from harness.host.isolation import isolated\n"
        "with isolated(()): print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )

    def found(soft: int, hard: int) -> str:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        return subprocess.run(
            [sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert [found(128, 2000), found(128, 256), found(1500, 2000)] == ["1024", "256", "1500"]
