"""The gate of a copy: its routes, as the evaluated program or our own file has them, and the hubs behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.artifacts import resolve as artifacts
from harness.base.errors import HarnessError
from harness.base.files import read_text
from harness.base.progress import Steps
from harness.base.validation import first_error
from harness.deployment.context import BootContext
from harness.deployment.images import push_addons
from harness.deployment.model import Deployment
from harness.deployment.releases import read_secrets
from harness.deployment.state import STATE, State
from harness.gate.addon import GATE, NAMESPACE
from harness.gate.gate import PASSPHRASE, Gate
from harness.gate.settings import SERVICE, SERVICE_PORT, GatedRoute
from harness.hub.api import Hub
from harness.plan.hubs import HubSpec
from harness.plan.plan import Plan
from harness.plan.versions import read_versions
from harness.program.model import Program, Route
from harness.services.keycloak import Keycloak

ROUTES = "helm/values/gate.yaml"
ALL_PATHS = ("/*",)


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid")

    hosts: Annotated[tuple[str, ...], Field(min_length=1)]
    paths: tuple[str, ...]
    websocket: bool
    plugins: Mapping[str, Mapping[str, Any]]
    service: str = SERVICE
    port: str = SERVICE_PORT


def gate_routes(plan: Plan) -> dict[HubSpec, GatedRoute]:
    """Return the gate's route to each hub: of the evaluated program, or without one of our own file.

    Raises:
        HarnessError: a hub has no route or more than one, a route leads from another path, or the file is broken.
    """
    if plan.ol_infrastructure and not plan.gate:
        return program_routes(plan.ol_infrastructure.program, plan.hubs)
    file = read_routes(plan.gate or plan.checkout / ROUTES)
    return _one_each({spec: [file[spec.name]] if spec.name in file else [] for spec in plan.hubs})


def program_routes(program: Program, hubs: Iterable[HubSpec]) -> dict[HubSpec, GatedRoute]:
    """Return the gate's route to each hub, of an evaluated program.

    Raises:
        HarnessError: a hub has no route or more than one, or a route leads from another path, or to no one Service.
    """
    return _one_each(
        {spec: [_of_program(each) for each in program.routes if each.namespace == spec.namespace] for spec in hubs}
    )


def _one_each(routes: Mapping[HubSpec, Sequence[GatedRoute]]) -> dict[HubSpec, GatedRoute]:
    for spec, there in routes.items():
        if len(there) != 1 or there[0].paths != ALL_PATHS:
            paths = [path for route in there for path in route.paths]
            raise HarnessError(
                f"The gate's route to {spec.name}: expected one for all paths (/*), found {paths or 'none'}"
            )
    return {spec: replace(there[0], release=spec.name) for spec, there in routes.items()}


def read_routes(file: Path) -> dict[str, GatedRoute]:
    """Return the routes of a file like helm/values/gate.yaml, by the hub's release.

    Raises:
        HarnessError: it cannot be read, or is not of that form.
    """
    try:
        given = yaml.safe_load(read_text(file, "the gate's routes"))
        written = {name: _Written.model_validate(each) for name, each in dict(given or {}).items()}
    except (yaml.YAMLError, TypeError, ValueError) as error:
        why = first_error(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise HarnessError(f"{file}: not routes of a gate: {why}") from error
    return {
        name: GatedRoute(name, each.hosts, each.paths, each.websocket, each.plugins, each.service, each.port)
        for name, each in written.items()
    }


def written(routes: Mapping[HubSpec, GatedRoute]) -> dict[str, Any]:
    """Return routes as a file has them, by the hub's release."""
    return {
        spec.name: _Written(
            hosts=route.hosts,
            paths=route.paths,
            websocket=route.websocket,
            plugins=route.plugins,
            service=route.service,
            port=route.port,
        ).model_dump(mode="json")
        for spec, route in routes.items()
    }


def _of_program(route: Route) -> GatedRoute:
    plugins = {plugin.name: plugin.config for plugin in route.plugins if plugin.enabled}
    if len(route.backends) != 1:
        names = [backend.service for backend in route.backends]
        raise HarnessError(f"The gate's route {route.name}: expected one Service behind it, found {names or 'none'}")
    [hub] = route.backends
    return GatedRoute(route.name, route.hosts, route.paths, bool(route.websocket), plugins, hub.service, str(hub.port))


def hub_behind(running: Deployment, spec: HubSpec, host: str) -> Hub:
    """Return a hub as it is reached through the gate."""
    return replace(running.hub(spec), url=f"https://{host}")


def upstream(running: Deployment, spec: HubSpec, route: GatedRoute) -> str:
    """Return host:port in the cluster of the Service that a route to a hub leads to.

    Raises:
        HarnessError: the release has no such Service, or the Service no such port.
    """
    ports = {
        str(port[key]): port["port"]
        for each in running.objects[spec]
        if each["kind"] == "Service" and each["metadata"]["name"] == route.service
        for port in each["spec"]["ports"]
        for key in ("name", "port")
        if key in port
    }
    if route.port not in ports:
        raise HarnessError(
            f"The gate's route to {spec.name} leads to {route.service}:{route.port}, and the release has "
            + (f"only its ports {', '.join(ports)}" if ports else "no such Service")
        )
    return f"{route.service}.{running.plan.hub(spec).namespace}:{ports[route.port]}"


def start_gate(running: Deployment, keycloak: Keycloak, routes: Sequence[tuple[GatedRoute, str]], steps: Steps) -> Gate:
    """Build the gate, bring it into the cluster with some routes, and wait until it answers.

    Args:
        routes: each with host:port of the hub behind it.

    Raises:
        HarnessError: it cannot be built, the cluster refuses it, or it does not come up.
    """
    plan = running.plan
    built = artifacts.get_addons(running.artifacts.how, {GATE}, plan.cache, steps)
    with steps.step("the gate"):
        State(plan.state / STATE).set(NAMESPACE, "there")
        push_addons(running, built)
        image, secret = read_versions().addons()[GATE].published, read_secrets(plan.secrets)
        gate = Gate(running.cluster, keycloak, image, secret[PASSPHRASE])
        gate.start(routes)
    return gate


def remove_gate(context: BootContext) -> None:
    """Remove the gate that an earlier run left in a kept cluster, where it may have ended: each run has its own."""
    if not context.state.get(NAMESPACE):
        return
    context.cluster.remove_workloads(NAMESPACE)
    context.state.forget(NAMESPACE)
