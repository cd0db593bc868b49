"""Stand-ins for other programs, for the hub that loads a spawner, and for a server with a certificate."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import yaml

from harness.base.names import Names
from harness.hub.api import Hub
from harness.plan.contract import COURSE_REPOSITORY
from harness.plan.hubs import HUBS
from harness.plan.sources.ol_infrastructure import OlInfrastructure
from harness.program import model
from harness.program.closure import Place
from harness.program.evaluation import Evaluation
from harness.program.pipelines import BuildJob, Pipelines
from harness.services.authority import Certificate


class Program:
    """A program that writes down its arguments, a line a call, and then does as a shell script says.

    In the script, $calls is the file of the calls and $here the program's own directory.
    """

    def __init__(self, directory: Path, name: str, script: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / name
        self._calls = directory / f"{name}.calls"
        head = f'here="{directory}"; calls="{self._calls}"'
        self.path.write_text(f'#!/bin/sh\n{head}\necho "$@" >> "$calls"\n{script}\n')
        self.path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


class FakeDocker(Program):
    """A docker whose daemon answers, with the containers and networks that it is given."""

    def __init__(self, directory: Path) -> None:
        script = """case "$1 $2" in
          "ps "*|"network ls") [ ! -f "$here/$1" ] || cat "$here/$1" ;;
          "rm "*) : > "$here/ps" ;;
          "info "*) echo / ;;
          version*) echo 28 ;;
        esac"""
        super().__init__(directory, "docker", script)

    def has(self, *parts: str) -> None:
        """Let the run jh-1 have containers of these kinds, and its network."""
        self.path.with_name("ps").write_text("".join(f"jh-1-{part}\n" for part in parts))
        self.path.with_name("network").write_text("bridge\njh-1\n")

    @property
    def changes(self) -> list[str]:
        """The calls that change something."""
        looks = ("ps ", "network ls", "volume ls", "version", "info ", "logs ")
        return [call for call in self.calls if not call.startswith(looks)]


def hub_that_answers(answer: Callable[[httpx.Request], httpx.Response]) -> Hub:
    """A hub whose API is a function."""
    return Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token", httpx.MockTransport(answer))


def hub_of(answers: Iterable[httpx.Response | httpx.HTTPError], asked: list[str]) -> Hub:
    """A hub that gives these answers in turn; each request is appended to `asked`."""
    rest = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        found = next(rest)
        if isinstance(found, httpx.HTTPError):
            raise found
        return found

    return hub_that_answers(answer)


def load_spawner(text: str) -> dict[str, Any]:
    """Run a spawner file as the hub's chart does, with a KubeSpawner of no abilities, and return its names."""
    kubespawner = types.ModuleType("kubespawner")
    vars(kubespawner)["KubeSpawner"] = type("KubeSpawner", (), {})
    names: dict[str, Any] = {"c": mock.MagicMock(), "__name__": "jupyterhub_config"}
    with mock.patch.dict(sys.modules, kubespawner=kubespawner), mock.patch.dict(os.environ, DATABASE_URL="none"):
        exec(compile(text, "dynamicImageConfig.py", "exec"), names)
    return names


def owners_checkout(directory: Path, **values: object) -> OlInfrastructure:
    """Return a checkout of mitodl/ol-infrastructure as it is once its program is evaluated, of chart 1.2.3.

    Args:
        values: of both hubs, beside their spawner and a pre-puller for the course `poetry`.
    """
    spawner = "KNOWN = ['base_authoring_image', 'poetry']"
    theirs = {
        "hub": {"extraConfig": {"dynamicImageConfig.py": spawner}},
        "prePuller": {"extraImages": {"poetry": {"name": COURSE_REPOSITORY, "tag": "poetry"}}},
        **values,
    }
    place = Place("deployment.py", 7)
    about = {"chart": "jupyterhub", "version": "1.2.3", "repositoryOpts": {"repo": "https://theirs.example"}}
    resources = tuple(
        model.Resource(
            "kubernetes:helm.sh/v3:Release",
            spec.release,
            True,
            {"name": spec.release, "namespace": spec.namespace, "values": theirs, **about},
            place,
        )
        for spec in HUBS
    )
    programs = {("jupyterhub", stack): model.Program(stack, "jupyterhub", "hubs", resources) for stack in model.STACKS}
    jobs = Pipelines((), (), (BuildJob("poetry", repo_uri="git@git.example:poetry.git"),))
    directory.mkdir(parents=True, exist_ok=True)
    files = {spec: directory / f"{spec.release}.Production.yaml" for spec in HUBS}
    for file in files.values():
        file.write_text(yaml.safe_dump(theirs))
    (directory / "dynamicImageConfig.py").write_text(spawner)
    return OlInfrastructure(
        checkout=directory,
        stack="Production",
        revision="abc1234 of 2026-08-22",
        evaluation=Evaluation(directory, programs, jobs, {}),
        base=None,
        hubs=HUBS,
        values=files,
        spawner=directory / "dynamicImageConfig.py",
    )


def greet(certificate: Certificate, host: str, names: Names) -> None:
    """Have a client greet a server that has the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            context.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    server = threading.Thread(target=serve)
    server.start()
    try:
        names.context().wrap_socket(here, server_hostname=host).close()
    finally:
        here.close()
        server.join(5)
