"""Services that a run has only if one of its tests asks for them: made and started beside a copy that runs."""

from __future__ import annotations

from typing import TypeVar

from harness.artifacts import resolve as artifacts
from harness.base.progress import Steps
from harness.deployment.model import Deployment
from harness.deployment.state import STATE, State
from harness.host import docker
from harness.services.container import Content, Service

S = TypeVar("S", bound=Service)


def begin(running: Deployment, kind: type[Service]) -> None:
    """Start the container of a service for a test that asks for it later, if its image is there.

    Raises:
        CommandError: the container does not start.
    """
    image = artifacts.find_service(running.artifacts.how, kind.NAME, running.plan.cache)
    if image and not _is_there(running, kind, image):
        _launch(running, kind, image)


def start(running: Deployment, kind: type[S], steps: Steps) -> S:
    """Return a service of a copy that runs: built or pulled, and started, unless it is there or on its way.

    Raises:
        HarnessError: it cannot be made, or does not become healthy.
    """
    plan, service = running.plan, running.services[kind]
    image = artifacts.get_service(running.artifacts.how, kind.NAME, plan.cache, plan.mirrors, steps)
    begun = _is_there(running, kind, image)
    if begun and service.is_healthy() is True:
        return service
    with steps.step(kind.TITLE):
        if not begun:
            _launch(running, kind, image)
        service.wait()
    return service


def _is_there(running: Deployment, kind: type[Service], image: str) -> bool:
    state, name = State(running.plan.state / STATE), running.services[kind].name
    return state.get(_key(kind)) == image and name in docker.running(running.plan.name)


def _launch(running: Deployment, kind: type[Service], image: str) -> None:
    state, service = State(running.plan.state / STATE), running.services[kind]
    docker.remove_container(service.name)
    state.forget(_key(kind))
    service.launch(image, Content())
    state.set(_key(kind), image)


def _key(kind: type[Service]) -> str:
    return f"service {kind.NAME}"
