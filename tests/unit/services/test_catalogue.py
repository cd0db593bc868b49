"""A service is one thing: with its class, its folder, its table of versions and its place in the list, all is known."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from harness.artifacts import pull
from harness.artifacts.build_cache import BuildCache
from harness.artifacts.recipes import recipes
from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.wait import NeverError
from harness.deployment.releases import create_secrets, read_secrets
from harness.evidence import environment
from harness.evidence.bundle import Scene
from harness.evidence.diagnosis import likely_cause
from harness.plan.versions import IMAGES, read_versions
from harness.services import catalogue
from harness.services.container import Content, HttpService, Services
from tests.unit.fakes import Program

CONTAINERS = """
case "$1" in
  port) cat "$here/port" ;;
  ps) cat "$here/containers" ;;
  info) echo / ;;
  logs) echo "no such page" ;;
esac
"""
VERSIONS = """
[services.pages]
published = "docker.io/library/pages:1"
base = "python"
packages = "python.pages"
[python.pages]
pages = "1.2"
"""


@dataclass(frozen=True)
class Pages(HttpService):
    """The toy: a server of static pages."""

    NAME = "pages"
    TITLE = "the pages' server"
    WITHOUT_IT = "no page comes"
    PORT = 8000
    HEALTHY_STATUS = 204
    START_TIMEOUT = 20
    SECRETS = ("pages_password",)

    def launch(self, image: str, content: Content) -> None:
        self.run_container(image, env={"PAGES": "all"}, command=["serve"])


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy in the list."""
    monkeypatch.setattr(catalogue, "SERVICES", (*catalogue.SERVICES, Pages))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The folders of images and their versions, with those of the toy."""
    folder = tmp_path / "images"
    folder.mkdir()
    for each in IMAGES.iterdir():
        (folder / each.name).symlink_to(each)
    (folder / "versions.toml").unlink()
    (folder / "versions.toml").write_text((IMAGES / "versions.toml").read_text() + VERSIONS)
    (folder / "pages").mkdir()
    (folder / "pages/Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nARG PACKAGES\n")
    return folder


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Docker with the containers in the file `containers`: all of them up."""
    program = Program(tmp_path / "bin", "docker", CONTAINERS)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    names = ("control-plane", "worker", *catalogue.names())
    write(program, "".join(f"jh-1-{name}\tUp 2 minutes\n" for name in names))
    return program


def write(docker: Program, containers: str) -> None:
    docker.path.with_name("containers").write_text(containers)


@pytest.fixture
def published(docker: Program) -> Iterator[Callable[[int], None]]:
    """Has a server on the port that Docker publishes, which answers with a status."""
    servers = []

    def start(status: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(httpd)
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        docker.path.with_name("port").write_text(f"127.0.0.1:{httpd.server_port}\n")

    yield start
    for httpd in servers:
        httpd.shutdown()
        httpd.server_close()


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(environment, "FULL_DISK", 0)
    return SimpleNamespace(name="jh-1", state=tmp_path, cache=tmp_path, evidence=tmp_path)


def start(tmp_path: Path, images: dict[str, str]) -> None:
    Services([Pages], "jh-1", tmp_path, {}).start(images, Content())


def test_the_list_and_the_versions_name_the_same() -> None:
    """A service that has no image, or an image without a service, is noticed here and not by a boot."""
    named = [service for service in catalogue.SERVICES if service is not Pages]
    assert sorted(service.NAME for service in named) == sorted(read_versions().services())
    assert all((IMAGES / service.NAME / "Dockerfile").is_file() for service in named)


class TestImage:
    def test_it_is_built(self, images: Path, tmp_path: Path) -> None:
        versions = read_versions(images / "versions.toml")
        cache = BuildCache(recipes(versions), images, tmp_path / "cache")
        made: Any = cache.recipes["pages"]
        assert (made.folder, made.needs, made.arguments) == ("pages", ("python",), {"PACKAGES": "pages==1.2"})
        before = cache.tag("pages")
        (images / "pages/Dockerfile").write_text("FROM scratch\n")
        assert BuildCache(recipes(versions), images, tmp_path / "cache").tag("pages") != before

    def test_it_is_pulled(self, images: Path, tmp_path: Path, docker: Program) -> None:
        versions = read_versions(images / "versions.toml")
        for tool in pull.TOOLS:
            directory = tmp_path / "tools" / f"{tool}-{versions.get(f'published.tools.{tool}', 'version')}"
            (directory / tool).mkdir(parents=True)
        steps = Steps(Console(file=io.StringIO()))
        made = pull.pull(versions, {"docker.io": "mirror.example"}, tmp_path, steps, lambda: None)
        assert made.services["pages"] == "mirror.example/library/pages:1"
        assert "pull --quiet mirror.example/library/pages:1" in docker.calls

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ('base = "python"', r"\[services.odd\] lacks published"),
            ('published = "a:1"\nbsae = "python"', r"\[services.odd\] has bsae; expected published, base, packages, p"),
            ("published = 1", r"\[services.odd\] published: expected a text, found 1"),
        ],
    )
    def test_a_table_that_is_wrong(self, table: str, message: str, tmp_path: Path) -> None:
        file = tmp_path / "versions.toml"
        file.write_text(f"[services.odd]\n{table}\n")
        with pytest.raises(HarnessError, match=message):
            read_versions(file).services()


class TestStart:
    def test_it_is_started(self, tmp_path: Path, docker: Program, published: Callable[[int], None]) -> None:
        published(204)
        start(tmp_path, {"pages": "pages:1"})
        assert [call for call in docker.calls if call.startswith("run")] == [
            "run --detach --name jh-1-pages --label ol-jupyterhub-harness=jh-1 --network jh-1 "
            "--publish 127.0.0.1::8000 --pull never --env PAGES pages:1 serve"
        ]

    def test_one_that_dies_is_named(
        self, tmp_path: Path, docker: Program, published: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.services.container.seldom", lambda look: look)
        published(500)
        write(docker, "jh-1-pages\t\texited\tExited (1) 1 second ago\n")
        dead = "container jh-1-pages does not run: Exited (1) 1 second ago, its last line: no such page"
        with pytest.raises(NeverError, match=rf"the pages' server: will not come, .*{dead}".replace("(1)", r"\(1\)")):
            start(tmp_path, {"pages": "pages:1"})

    def test_one_that_is_ill_is_waited_for(self, tmp_path: Path, published: Callable[[int], None]) -> None:
        published(500)
        seen: Any = Pages("jh-1", tmp_path).is_healthy()
        assert seen.seen == "/: status 500, expected 204"

    def test_one_without_an_image(self, tmp_path: Path, docker: Program) -> None:
        with pytest.raises(HarnessError, match=r"no image for the service pages\. Add \[services.pages\] to"):
            start(tmp_path, {"moto": "moto:1"})
        assert docker.calls == []

    def test_its_password_is_made(self, tmp_path: Path) -> None:
        create_secrets(tmp_path / "secrets.json")
        assert len(read_secrets(tmp_path / "secrets.json")["pages_password"]) == 64


class TestWatched:
    def test_a_run_without_it_is_not_whole(self, plan: Any, docker: Program) -> None:
        assert "jh-1-pages" in environment.parts("jh-1")
        assert environment.fault(plan, None) == ""

    def test_its_end_is_a_fault_of_the_environment(self, plan: Any, docker: Program) -> None:
        up = docker.path.with_name("containers").read_text()
        write(docker, up.replace("jh-1-pages\tUp 2 minutes", "jh-1-pages\tExited (1) 2 seconds ago"))
        assert environment.fault(plan, None) == (
            "The container of the pages' server jh-1-pages does not run (Exited (1) 2 seconds ago): no page comes. "
            "Its last line: no such page"
        )

    def test_its_log_is_evidence(self, plan: Any, docker: Program) -> None:
        cluster: Any = SimpleNamespace(nodes=())
        logs: Any = {source.name: source for source in Scene(plan, cluster).sources(0)}["logs/services"].read()
        assert logs["logs/pages.log"] == "no such page\n"

    def test_its_absence_is_a_cause(self, docker: Program) -> None:
        write(docker, "")
        cluster: Any = SimpleNamespace(name="jh-1", nodes=())
        found = str(likely_cause(cluster, ["jupyter"], since=0, services=catalogue.names()))
        assert found.endswith("container jh-1-pages is gone")
