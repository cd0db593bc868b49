"""The numbers of production: sizes, shares, copies, ports and times, in both releases as production renders them.

What kind scales down or a run decides itself is held to the contract here, and nowhere else; nothing needs a cluster. A
deployment that offers more than the contract breaks no promise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from kubernetes.utils import parse_quantity

from harness.base.quantities import GIB, spawner_bytes
from harness.charts.manifests import Manifest, containers, hub_values, main_container
from harness.charts.values import value_at
from harness.hub.culler import configured
from harness.plan.contract import (
    BUSY,
    CLOSED_SERVICES,
    CPU_GUARANTEE,
    CULL_MAX_AGE,
    CULL_TIMEOUT,
    IDLE_END,
    MEMORY_GUARANTEE,
    MEMORY_LIMIT,
    NODE_PORTS,
    NOT_HELD,
    PATIENCE,
    ROOM,
    SHARES,
    START_TIMEOUT,
    USER_SCHEDULERS,
    WHOLE_CPU,
)
from harness.plan.hubs import HUBS, STUDENT, HubSpec
from harness.plan.plan import Plan

WAYS_IN = {"Ingress", "HTTPRoute", "Gateway"}
"""Kinds of objects that lead to a Service from outside of the cluster."""
SPAWNER_SECTIONS = ("KubeSpawner", "Spawner")
"""Sections of hub.config that set the spawner's times; the first that does wins."""
PLACEHOLDER_MEMORY = MEMORY_GUARANTEE // GIB * 10**9
"""Bytes that a placeholder keeps: Kubernetes reads 2G, which the chart hands on from a server's guarantee, as 2e9."""
CHP_TIMEOUT = re.compile(r"--(timeout|proxy-timeout)[= ](\d+)")
"""Options of configurable-http-proxy that end a connection, in milliseconds."""


@pytest.fixture(params=HUBS, ids=lambda hub_spec: hub_spec.name)
def hub_spec(plan: Plan, request: pytest.FixtureRequest) -> HubSpec:
    """Each of the two hubs."""
    return plan.hub(request.param)


@pytest.fixture
def release(production: Mapping[HubSpec, list[Manifest]], hub_spec: HubSpec) -> list[Manifest]:
    """The objects of the hub's release, as production has them."""
    return production[hub_spec]


@pytest.fixture
def values(release: list[Manifest]) -> dict[str, Any]:
    """Values of the hub, as production has them."""
    return hub_values(release)


def test_server_is_guaranteed_what_production_gives(hub_spec: HubSpec, values: Mapping[str, Any]) -> None:
    """Each server is guaranteed 2 GB of memory and a quarter of a CPU."""
    memory, cpu = (values["singleuser"][what]["guarantee"] for what in ("memory", "cpu"))
    assert memory_at(values, "guarantee", unset=0) >= MEMORY_GUARANTEE, (
        f"{hub_spec.release}: guaranteed memory is {memory}, expected {MEMORY_GUARANTEE // GIB}G"
    )
    assert cpu_at(values, "guarantee", unset=0) >= CPU_GUARANTEE, (
        f"{hub_spec.release}: guaranteed CPU is {cpu}, expected {CPU_GUARANTEE}"
    )


def test_server_has_the_limits_of_production(hub_spec: HubSpec, values: Mapping[str, Any]) -> None:
    """Each server may use 4 GB of memory, and not all of its node, and as much CPU as there is."""
    memory, cpu = (values["singleuser"][what]["limit"] for what in ("memory", "cpu"))
    limit = memory_at(values, "limit", unset=math.inf)
    assert limit < math.inf, (
        f"{hub_spec.release}: singleuser.memory.limit is not set: one server may take its whole node"
    )
    assert limit >= MEMORY_LIMIT, (
        f"{hub_spec.release}: a server may use {memory} of memory, expected {MEMORY_LIMIT // GIB}G"
    )
    assert cpu is None, f"{hub_spec.release}: a server is held at {cpu} CPU, expected no limit"


def test_no_guarantee_exceeds_its_limit(hub_spec: HubSpec, values: Mapping[str, Any]) -> None:
    """No more memory or CPU is guaranteed to a server than it may use."""
    for what, read in (("memory", memory_at), ("cpu", cpu_at)):
        given = values["singleuser"][what]
        assert read(values, "guarantee", unset=0) <= read(values, "limit", unset=math.inf), (
            f"{hub_spec.release}: singleuser.{what} guarantees {given['guarantee']}, and its limit is {given['limit']}"
            ": Kubernetes refuses each server's pod"
        )


def memory_at(values: Mapping[str, Any], bound: str, *, unset: float) -> float:
    """Bytes of memory that a server is guaranteed, or may use."""
    key = f"singleuser.memory.{bound}"
    setting = value_at(values, key)
    return unset if setting is None else spawner_bytes(setting, key)


def cpu_at(values: Mapping[str, Any], bound: str, *, unset: float) -> float:
    """CPUs that a server is guaranteed, or may use."""
    setting = value_at(values, f"singleuser.cpu.{bound}")
    return unset if setting is None else float(setting)


@pytest.mark.parametrize("component", SHARES)
def test_part_of_the_release_has_its_share(hub_spec: HubSpec, release: list[Manifest], component: str) -> None:
    """Hub, proxy and user scheduler have the CPU and the memory that production gives them."""
    pods = list(parts(release, "Deployment", component))
    assert pods, f"{hub_spec.release} has no {component}"
    for container in map(main_container, pods):
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        # Without a request, Kubernetes takes the limit for it.
        requests = {**limits, **(resources.get("requests") or {})}
        for what, least in SHARES[component].items():
            most = WHOLE_CPU if what == "cpu" and component in NOT_HELD else least
            bounds = (("is guaranteed", requests.get(what, 0), least), ("may use", limits.get(what), most))
            for bound, given, expected in bounds:
                assert given is None or parse_quantity(given) >= parse_quantity(expected), (
                    f"{hub_spec.release}: the {component} {bound} {given} of {what}, expected {expected}"
                )


def test_user_scheduler_is_there_twice(hub_spec: HubSpec, release: list[Manifest]) -> None:
    """The release's own scheduler places servers' pods, and there are two of it for when a node goes."""
    [*found] = parts(release, "Deployment", "user-scheduler")
    assert found, f"{hub_spec.release} has no user scheduler: servers are spread over all nodes, which then never empty"
    copies = sum(each["spec"].get("replicas", 1) for each in found)
    assert copies, (
        f"{hub_spec.release}: the user scheduler has 0 replicas: nothing places a server's pod, none ever starts"
    )
    assert copies >= USER_SCHEDULERS, (
        f"{hub_spec.release}: the user scheduler has {copies} replica, expected {USER_SCHEDULERS}: no server starts "
        "while its node is drained"
    )


def test_room_is_kept(hub_spec: HubSpec, release: list[Manifest]) -> None:
    """Production keeps room for four more students, and for one more author."""
    placeholders = list(parts(release, "StatefulSet", "user-placeholder"))
    room = sum(each["spec"]["replicas"] for each in placeholders)
    assert room >= ROOM[hub_spec], f"{hub_spec.release} keeps room for {room} more servers, expected {ROOM[hub_spec]}"
    for container in map(main_container, placeholders):
        kept = (container.get("resources") or {}).get("requests") or {}
        for what, least in {"memory": PLACEHOLDER_MEMORY, "cpu": CPU_GUARANTEE}.items():
            assert parse_quantity(kept.get(what, 0)) >= least, (
                f"{hub_spec.release}: a placeholder keeps {kept.get(what, 0)} of {what} free, and a server is "
                f"guaranteed {least}"
            )


def test_drain_of_a_node_spares_hub_and_proxy(hub_spec: HubSpec, release: list[Manifest]) -> None:
    """No drain of a node takes the hub or the proxy away in the middle of a class."""
    kept = {
        component_of(manifest)
        for manifest in release
        if manifest["kind"] == "PodDisruptionBudget"
        and (manifest["spec"].get("minAvailable") or manifest["spec"].get("maxUnavailable") == 0)
    }
    evicted = {"hub", "proxy"} - kept
    assert not evicted, f"{hub_spec.release}: no PodDisruptionBudget keeps a drain from evicting {sorted(evicted)}"


def test_one_hub_at_a_time(hub_spec: HubSpec, release: list[Manifest]) -> None:
    """A database has one hub at a time, and an upgrade ends the old one before the new one begins."""
    [hub] = parts(release, "Deployment", "hub")
    copies, strategy = hub["spec"].get("replicas", 1), (hub["spec"].get("strategy") or {}).get("type", "RollingUpdate")
    assert copies == 1, f"{hub_spec.release}: there are {copies} hubs on one database, expected one"
    assert strategy == "Recreate", (
        f"{hub_spec.release}: the hub's strategy is {strategy}, expected Recreate: an upgrade has two hubs on one "
        "database"
    )


def test_busy_hub_and_proxy_are_left_alone(hub_spec: HubSpec, release: list[Manifest]) -> None:
    """Kubernetes restarts neither hub nor proxy before it has given no answer for a minute."""
    for component in ("hub", "proxy"):
        for container in map(main_container, parts(release, "Deployment", component)):
            if probe := container.get("livenessProbe"):
                # Defaults of Kubernetes.
                patience = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
                assert patience >= BUSY, (
                    f"{hub_spec.release}: the {component} is restarted when it is busy for {patience} s "
                    f"(livenessProbe), expected at least {BUSY} s"
                )


def test_proxy_ends_no_quiet_connection(hub_spec: HubSpec, release: list[Manifest]) -> None:
    """The proxy keeps a connection over which nothing is said for a minute, such as a kernel's that computes."""
    for container in (each for pod in parts(release, "Deployment", "proxy") for each in containers(pod)):
        command = " ".join(map(str, [*(container.get("command") or ()), *(container.get("args") or ())]))
        for option, milliseconds in CHP_TIMEOUT.findall(command):
            assert not 0 < int(milliseconds) < BUSY * 1000, (
                f"{hub_spec.release}: the proxy ends what is quiet for {int(milliseconds) / 1000:g} s (--{option}), "
                f"expected at least {BUSY} s"
            )


def test_nothing_is_reachable_past_the_gate(hub_spec: HubSpec, release: list[Manifest]) -> None:
    """Nothing of a release is reached from outside but through the gate: no load balancer, address or ingress leads in.

    The hubs let in everybody who reaches them, for it is the gate that asks for a login.
    """
    for manifest in release:
        name = f"{hub_spec.release}: {manifest['kind']} {manifest['metadata']['name']}"
        assert manifest["kind"] not in WAYS_IN, (
            f"{name} leads to the hub past the gate, which asks for the login: expected none (ingress, httpRoute)"
        )
        if manifest["kind"] == "Service":
            kind = manifest["spec"].get("type", "ClusterIP")
            assert kind in CLOSED_SERVICES, (
                f"{name} has the type {kind}: strangers reach the hub past the gate; expected one of "
                f"{', '.join(sorted(CLOSED_SERVICES))}"
            )
            for key in ("externalIPs", "loadBalancerIP"):
                assert not manifest["spec"].get(key), f"{name} has {key}: strangers reach the hub past the gate"


def test_hubs_have_ports_of_their_own(production: Mapping[HubSpec, list[Manifest]]) -> None:
    """A port of the nodes is asked for by one Service alone, and is one that Kubernetes gives."""
    owners: dict[int, str] = {}
    for hub_spec in HUBS:
        for manifest in production[hub_spec]:
            for port in manifest["spec"].get("ports") or () if manifest["kind"] == "Service" else ():
                if number := port.get("nodePort"):
                    service = f"{hub_spec.name}'s {manifest['metadata']['name']}"
                    assert number in NODE_PORTS, f"{service} asks for port {number}, expected 30000 to 32767"
                    other = owners.setdefault(number, service)
                    assert other == service, f"{service} and {other} ask for one port of the nodes, {number}"


def test_server_has_time_to_start(hub_spec: HubSpec, values: Mapping[str, Any]) -> None:
    """A server that has to wait for a new node and its image is not given up, on either hub."""
    seconds = spawner_setting(values, "start_timeout", values["singleuser"]["startTimeout"])
    assert seconds >= START_TIMEOUT, (
        f"{hub_spec.release}: a server is given up after {seconds:g} s, expected {START_TIMEOUT:.0f}"
    )


@pytest.mark.parametrize("name", PATIENCE)
def test_hub_waits_for_servers_and_the_api(hub_spec: HubSpec, values: Mapping[str, Any], name: str) -> None:
    """The hub waits for a server's first answer, and for Kubernetes' API, no shorter than JupyterHub does by itself."""
    seconds = spawner_setting(values, name, PATIENCE[name])
    assert seconds >= PATIENCE[name], (
        f"{hub_spec.release}: {name} is {seconds:g} s, expected {PATIENCE[name]:g}: servers that start on a busy node "
        "are given up"
    )


def spawner_setting(values: Mapping[str, Any], name: str, default: float) -> float:
    """A time of the spawner, as hub.config sets it."""
    sections = [value_at(values, f"hub.config.{section}.{name}") for section in SPAWNER_SECTIONS]
    return float(next((each for each in sections if each is not None), default))


def test_culler_leaves_learners_their_time(hub_spec: HubSpec, release: list[Manifest]) -> None:
    """A server may be idle for 15 minutes and live for 4 hours; unused it is gone in 2 hours, an author's in a day."""
    times = configured(release)
    assert times.timeout >= CULL_TIMEOUT, (
        f"{hub_spec.release}: a learner may be idle for {CULL_TIMEOUT:.0f} s, not {times.timeout:.0f}"
    )
    assert times.max_age, (
        f"{hub_spec.release}: no server ends for its age: with a maximum age of 0 an open page keeps it for ever"
    )
    assert times.max_age >= CULL_MAX_AGE, (
        f"{hub_spec.release}: a server may live for {CULL_MAX_AGE:.0f} s, not {times.max_age:.0f}"
    )
    gone, end = min(times.timeout, times.max_age) + times.every, IDLE_END[hub_spec]
    assert gone <= end, (
        f"{hub_spec.release}: an idle server is there for up to {gone:.0f} s, expected an end within {end:.0f} s: "
        "lower cull.timeout or cull.every"
    )


def test_authors_server_is_culled_though_its_user_is_an_admin(author_values: Mapping[str, Any]) -> None:
    """The authors' culler does not spare admins: the only user there is one."""
    assert author_values["cull"]["adminUsers"], "cull.adminUsers is false: the server that all authors share stays"


def test_courses_are_pulled_before_students_come(pre_pulled: set[str]) -> None:
    """Course images are brought to the nodes before any student asks for one."""
    assert pre_pulled, f"{STUDENT.release} has no pre-puller: each course's first student on a node waits for minutes"


def test_students_get_the_image_that_was_pushed_last(hub_spec: HubSpec, values: Mapping[str, Any]) -> None:
    """A server's image is asked for again at every start: a course's tag stays while its image changes."""
    policy = value_at(values, "singleuser.image.pullPolicy")
    assert policy == "Always", (
        f"{hub_spec.release}: singleuser.image.pullPolicy is {policy}, expected Always: nodes keep a course's old image"
    )


def parts(release: list[Manifest], kind: str, component: str) -> Iterator[Manifest]:
    """The objects of a kind that are a component of a release."""
    return (each for each in release if each["kind"] == kind and component_of(each) == component)


def component_of(manifest: Manifest) -> str:
    """The part of a release that an object belongs to, by its label."""
    return str((manifest["metadata"].get("labels") or {}).get("component"))
