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


def start(running: Deployment, kind: type[S], steps: Steps, content: Content | None = None) -> S:
    """Return a service of a copy that runs: built or pulled, and started, unless a kept one is still there.

    Args:
        content: as `Service.start` takes it; a service that has some is always started anew.

    Raises:
        HarnessError: it cannot be made, or does not become healthy.
    """
    plan, service = running.plan, running.services[kind]
    image = artifacts.get_service(running.artifacts.how, kind.NAME, plan.cache, plan.mirrors, steps)
    state, key = State(plan.state / STATE), f"service {kind.NAME}"
    if not content and state.get(key) == image and service.name in docker.running(plan.name):
        return service
    with steps.step(kind.TITLE):
        docker.remove_container(service.name)
        state.forget(key)
        service.start(image, content or Content())
    state.set(key, image)
    return service
