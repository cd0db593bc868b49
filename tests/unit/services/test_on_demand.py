"""Services on demand: a run whose tests ask for none neither makes nor starts nor misses one."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.artifacts.build_cache import BuildCache
from harness.artifacts.recipes import recipes
from harness.base.wait import NotYet
from harness.deployment import on_demand
from harness.deployment.releases import create_secrets, read_secrets
from harness.evidence import environment
from harness.plan.versions import IMAGES, read_versions
from harness.services import catalogue
from harness.services.container import Content, Services
from harness.services.keycloak import Keycloak
from tests.unit.fakes import Program

CONTAINERS = """
case "$1" in
  port) echo 127.0.0.1:1 ;;
  ps) [ ! -e "$here/containers" ] || cat "$here/containers" ;;
  info) echo / ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Docker with the containers in the file `containers`."""
    program = Program(tmp_path / "bin", "docker", CONTAINERS)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return program


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The services of a run, each healthy at once."""
    for kind in catalogue.SERVICES:
        monkeypatch.setattr(kind, "is_healthy", lambda self: True)
        monkeypatch.setattr(kind, "set_up", lambda self: None)
    create_secrets(tmp_path / "secrets.json")
    return Services(catalogue.SERVICES, "jh-1", tmp_path, read_secrets(tmp_path / "secrets.json"))


@pytest.fixture
def running(tmp_path: Path, services: Services, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy that runs, for which each image is made at once."""
    monkeypatch.setattr("harness.artifacts.resolve.get_service", lambda how, name, *_: f"{name}:{how}")
    plan = SimpleNamespace(name="jh-1", state=tmp_path, cache=tmp_path, mirrors={})
    return SimpleNamespace(plan=plan, services=services, artifacts=SimpleNamespace(how="build"))


def steps() -> Any:
    return SimpleNamespace(step=lambda title: nullcontext())


def test_keycloak_is_no_part_of_every_run() -> None:
    assert [service.NAME for service in catalogue.always()] == ["postgres", "moto", "registry"]
    assert [service.NAME for service in catalogue.on_demand()] == ["keycloak"]


def test_a_run_without_them_does_not_make_their_images(docker: Program, tmp_path: Path) -> None:
    cache = BuildCache(recipes(read_versions()), IMAGES, tmp_path)
    missing = cache.missing({service.NAME for service in catalogue.always()})
    assert not {"keycloak", "gate"} & set(missing)
    assert cache.missing({"keycloak"})[-1] == "keycloak"


def test_a_boot_starts_none(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    for kind in catalogue.SERVICES:
        monkeypatch.setattr(kind, "launch", lambda self, image, content: started.append(self.NAME))
    services.start({service.NAME: "image" for service in catalogue.always()}, Content())
    assert started == ["postgres", "moto", "registry"]


class TestStart:
    def test_it_is_made_and_started(self, running: Any, docker: Program) -> None:
        on_demand.start(running, Keycloak, steps())
        [call] = [call for call in docker.calls if call.startswith("run")]
        assert "--network-alias sso.ol.mit.edu" in call
        assert "keycloak:build start --import-realm --hostname=https://sso.ol.mit.edu" in call
        assert "--cache=local" in call

    def test_a_kept_one_is_used_again(self, running: Any, docker: Program) -> None:
        on_demand.start(running, Keycloak, steps())
        docker.path.with_name("containers").write_text("jh-1-keycloak\n")
        on_demand.start(running, Keycloak, steps())
        assert len([call for call in docker.calls if call.startswith("run")]) == 1

    def test_one_that_was_begun_is_waited_for(
        self, running: Any, docker: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.artifacts.resolve.find_service", lambda how, name, cache: f"{name}:{how}")
        healthy = [NotYet("starting"), NotYet("starting"), True]
        monkeypatch.setattr(Keycloak, "is_healthy", lambda self: healthy.pop(0))
        on_demand.begin(running, Keycloak)
        docker.path.with_name("containers").write_text("jh-1-keycloak\n")
        assert len(healthy) == 3, "nothing waits while it starts"
        on_demand.start(running, Keycloak, steps())
        assert not healthy
        assert len([call for call in docker.calls if call.startswith("run")]) == 1

    def test_one_whose_image_is_still_to_be_made_is_not_begun(
        self, running: Any, docker: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.artifacts.resolve.find_service", lambda how, name, cache: None)
        on_demand.begin(running, Keycloak)
        assert not docker.calls

    def test_one_of_another_image_is_replaced(
        self, running: Any, docker: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        on_demand.start(running, Keycloak, steps())
        docker.path.with_name("containers").write_text("jh-1-keycloak\n")
        monkeypatch.setattr("harness.artifacts.resolve.get_service", lambda how, name, *_: f"{name}:other")
        on_demand.start(running, Keycloak, steps())
        assert "rm --force --volumes jh-1-keycloak" in docker.calls


class TestWatched:
    @pytest.fixture
    def plan(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(environment, "FULL_DISK", 0)
        return SimpleNamespace(name="jh-1", state=tmp_path, cache=tmp_path, evidence=tmp_path)

    def test_one_that_no_test_asked_for_is_not_missed(self, plan: Any, docker: Program) -> None:
        docker.path.with_name("containers").write_text("".join(f"{each}\tUp\n" for each in environment.parts("jh-1")))
        assert environment.fault(plan, None) == ""

    def test_one_that_has_ended_is_a_fault(self, plan: Any, docker: Program) -> None:
        up = "".join(f"{each}\tUp\n" for each in environment.parts("jh-1"))
        docker.path.with_name("containers").write_text(f"{up}jh-1-keycloak\tExited (1) 1 second ago\n")
        assert environment.fault(plan, None).startswith(
            "The container of Keycloak jh-1-keycloak does not run (Exited (1) 1 second ago): no one can log in."
        )
