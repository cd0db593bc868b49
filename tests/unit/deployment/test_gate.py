"""The gate's routes: of the evaluated program, of a file, or what is wrong with either."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.artifacts import resolve
from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.deployment import gate as deployed
from harness.deployment.gate import gate_routes, read_routes, upstream, written
from harness.deployment.releases import create_secrets, read_secrets
from harness.gate.gate import Gate
from harness.plan.contract import GATED_HOSTS
from harness.plan.hubs import AUTHORING, HUBS, STUDENT
from harness.plan.plan import Plan
from harness.plan.versions import IMAGES, read_versions
from harness.program.model import Backend, Plugin, Route
from tests.unit.deployment.doubles import context_of, running_copy

CHECKOUT = IMAGES.parent
LOGIN = Plugin("openid-connect", {"scope": "openid"})


def route(
    namespace: str,
    *plugins: Plugin,
    paths: tuple[str, ...] = ("/*",),
    backends: tuple[Backend, ...] = (Backend("proxy-public", "http"),),
) -> Route:
    place: Any = None
    return Route("any", namespace, (f"{namespace}.example",), paths, backends, plugins, "", True, {}, place)


AUTHORS = (route("jupyter-authoring"),)


def with_routes(*routes: Route, gate: Path | None = None) -> Any:
    """Return the plan of a run, with an evaluated program where it has routes."""
    theirs = SimpleNamespace(program=SimpleNamespace(routes=routes)) if routes else None
    return SimpleNamespace(gate=gate, ol_infrastructure=theirs, checkout=CHECKOUT, hubs=HUBS)


def test_our_own_are_those_of_production() -> None:
    found = gate_routes(with_routes())
    assert {spec: route.hosts for spec, route in found.items()} == {spec: (it,) for spec, it in GATED_HOSTS.items()}
    assert found[AUTHORING].setting("session.cookie_name") == "jupyterhub_authoring_apisix_session"


def test_the_programs_stand_in_their_place() -> None:
    found = gate_routes(with_routes(route("jupyter", LOGIN), route("jupyter-authoring")))
    assert found[STUDENT].hosts == ("jupyter.example",)
    assert found[STUDENT].setting("scope") == "openid"
    assert found[AUTHORING].login is None


def test_a_route_to_something_else_may_lead_to_many_services() -> None:
    others = route("elsewhere", backends=(Backend("blue", 80), Backend("green", 80)))
    assert gate_routes(with_routes(others, route("jupyter"), *AUTHORS))[STUDENT].service == "proxy-public"


def test_a_plugin_that_is_switched_off_is_none() -> None:
    off = Plugin("openid-connect", {}, enabled=False)
    assert gate_routes(with_routes(route("jupyter", off), route("jupyter-authoring")))[STUDENT].login is None


def test_a_file_wins_over_the_program(tmp_path: Path) -> None:
    file = tmp_path / "gate.json"
    file.write_text((CHECKOUT / "helm/values/gate.yaml").read_text())
    found = gate_routes(with_routes(route("jupyter"), route("jupyter-authoring"), gate=file))
    assert found == gate_routes(with_routes())


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ([route("jupyter-authoring")], "to jupyterhub: expected one for all paths .*, found none"),
        ([route("jupyter", paths=("/hub/*",)), route("jupyter-authoring")], r"found \['/hub/\*'\]"),
        ([route("jupyter"), route("jupyter"), route("jupyter-authoring")], r"found \['/\*', '/\*'\]"),
        ([route("jupyter", backends=()), route("jupyter-authoring")], "expected one Service behind it, found none"),
    ],
    ids=["none", "another path", "two", "no Service"],
)
def test_a_hub_without_one_route_is_named(routes: list[Route], found: str) -> None:
    with pytest.raises(HarnessError, match=found):
        gate_routes(with_routes(*routes))


def test_they_are_written_as_they_are_read(tmp_path: Path) -> None:
    routes = gate_routes(with_routes())
    (tmp_path / "gate.json").write_text(json.dumps(written(routes)))
    again = read_routes(tmp_path / "gate.json")
    assert {spec: again[spec.name] for spec in routes} == routes


class TestUpstream:
    """A route leads to the Service that it names, at the port that the release gives it."""

    @pytest.fixture
    def running(self) -> Any:
        ports = [{"name": "http", "port": 8000}]
        service = {"kind": "Service", "metadata": {"name": "proxy-public"}, "spec": {"ports": ports}}
        plan = SimpleNamespace(hub=lambda spec: SimpleNamespace(namespace="classes"))
        return SimpleNamespace(plan=plan, objects={STUDENT: [{"kind": "Secret"}, service]})

    @pytest.mark.parametrize("port", ["http", 8000], ids=["by name", "by number"])
    def test_it_is_found(self, running: Any, port: str | int) -> None:
        routes = gate_routes(with_routes(route("jupyter", backends=(Backend("proxy-public", port),)), *AUTHORS))
        assert upstream(running, STUDENT, routes[STUDENT]) == "proxy-public.classes:8000"

    @pytest.mark.parametrize(
        ("backend", "why"),
        [
            (Backend("proxy-public", "https"), "leads to proxy-public:https, and the release has only its ports http"),
            (Backend("hub", "http"), "leads to hub:http, and the release has no such Service"),
        ],
    )
    def test_one_that_is_not_there_is_named(self, running: Any, backend: Backend, why: str) -> None:
        routes = gate_routes(with_routes(route("jupyter", backends=(backend,)), *AUTHORS))
        with pytest.raises(HarnessError, match=f"The gate's route to jupyterhub {why}"):
            upstream(running, STUDENT, routes[STUDENT])


class TestInACluster:
    """The gate of a copy is made by the first test that asks for it, and anew in each run."""

    def test_it_is_built_pushed_and_started(
        self, planned: Callable[..., Plan], steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        monkeypatch.setattr(resolve, "get_addons", lambda how, names, *_: done.append(f"{how} {names}"))
        monkeypatch.setattr(deployed, "push_addons", lambda running, built: done.append("push"))
        monkeypatch.setattr(Gate, "start", lambda gate, routes: done.append(f"start with {len(routes)} routes"))
        copy = running_copy(planned(), artifacts=SimpleNamespace(how="build"))
        create_secrets(copy.plan.secrets)
        behind = [(route, "hub:80") for route in gate_routes(copy.plan).values()]
        keycloak: Any = "Keycloak"
        gate = deployed.start_gate(copy, keycloak, behind, steps)
        assert done == ["build {'gate'}", "push", "start with 2 routes"]
        assert gate.passphrase == read_secrets(copy.plan.secrets)["gate_session"]
        assert gate.image == read_versions().addons()["gate"].published

    def test_one_that_an_earlier_run_left_is_removed(self, planned: Callable[..., Plan], steps: Steps) -> None:
        removed: list[str] = []
        cluster: Any = SimpleNamespace(remove_workloads=removed.append)
        context = context_of(planned(), steps, cluster)
        deployed.remove_gate(context)
        assert removed == [], "there was none"
        context.state.set("gate", "there")
        deployed.remove_gate(context)
        deployed.remove_gate(context)
        assert removed == ["gate"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "while parsing"),
        ("- a", "not routes of a gate"),
        ("jupyterhub: {hosts: [a], paths: [/*], plugins: {}}", "websocket: expected, and missing"),
        ("jupyterhub: {hosts: [a], paths: [/*], websocket: true, plugins: {}, path: a}", "path: unknown"),
    ],
)
def test_a_file_that_is_wrong_is_named(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text(text)
    with pytest.raises(HarnessError, match=why):
        read_routes(tmp_path / "gate.yaml")
