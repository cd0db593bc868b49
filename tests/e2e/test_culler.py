"""The idle culler: servers that nobody uses go, with their users, and those that somebody uses stay.

The running culler has production's numbers, which test_production.py holds to the contract. What they mean is seen at
a scale, on a hub of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness.base.wait import NotYet, wait_until
from harness.charts.manifests import Manifest
from harness.cluster.kind import Cluster
from harness.deployment.model import Deployment
from harness.hub.api import Hub
from harness.hub.culler import configured, read_culler
from harness.plan.hubs import HUBS, HubSpec
from harness.scenarios.culling import SLACK, CulledAfterRestart, CulledServers
from harness.scenarios.scaled_hub import FACTOR, ServerLifetime
from harness.services.postgres import Postgres


@pytest.mark.parametrize("hub_spec", HUBS, ids=lambda hub_spec: hub_spec.name)
def test_culler_runs_with_the_numbers_that_are_set(
    deployment: Deployment, cluster: Cluster, production: Mapping[HubSpec, list[Manifest]], hub_spec: HubSpec
) -> None:
    """Each hub's culler runs, with the times that production's values set, and deletes users too."""
    culler = read_culler(cluster, deployment.hub(hub_spec))
    expected = configured(production[hub_spec])
    assert culler.times == expected, f"the values say {expected}, and the culler runs with {culler.times}"
    assert culler.users, "the culler removes servers alone: without --cull-users their users stay for ever"


@pytest.mark.timeout(900)
def test_idle_server_goes_in_time(culled_servers: CulledServers) -> None:
    """A server that nobody uses is there just before its time, and gone soon after it."""
    life, times = culled_servers.idle, culled_servers.times
    assert life.last_seen >= 0.8 * times.timeout, (
        f"an idle server {life.end}, long before its {times.timeout:.0f} s (production's, divided by {FACTOR})"
    )
    assert life.gone_at is not None, (
        f"an idle server is still there after {life.last_seen:.0f} s: the culler culls nothing"
    )
    latest = times.timeout + 2 * times.every + SLACK
    assert life.gone_at <= latest, f"an idle server went after {life.gone_at:.0f} s, expected within {latest:.0f} s"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["busy", "page"])
def test_used_server_stays_until_its_maximum_age(culled_servers: CulledServers, who: str) -> None:
    """A server with a running cell or an open page stays until its maximum age, and goes then."""
    life: ServerLifetime = getattr(culled_servers, who)
    used = {"busy": "in which a cell runs", "page": "whose page is open"}[who]
    age = culled_servers.times.max_age
    start = f"and {life.starting:.0f} s to start"
    assert life.starting + life.last_seen >= 0.9 * age, (
        f"a server {used} {life.end} {start}; it may stay for {age:.0f} s"
    )
    assert life.gone_at is not None, (
        f"a server {used} is still there after {life.last_seen:.0f} s; {age:.0f} s are its end"
    )
    latest = age + 2 * culled_servers.times.every + SLACK
    assert life.starting + life.gone_at <= latest, (
        f"a server {used} went after {life.gone_at:.0f} s {start}, expected within {latest:.0f} s"
    )


@pytest.mark.timeout(900)
def test_nothing_is_left_of_what_was_culled(
    culled_servers: CulledServers, cluster: Cluster, volume_claims: Callable[[Hub], list[str]], database: Postgres
) -> None:
    """Of a culled server there is no pod left, no volume, no route in the proxy, and no user in hub and Postgres."""
    names = {life.user for life in (culled_servers.idle, culled_servers.busy, culled_servers.page)}
    pods = cluster.pods(culled_servers.hub.namespace)

    def no_pod() -> bool | NotYet:
        left = [pod.metadata.name for pod in pods.look("component=singleuser-server")]
        return NotYet(f"there are {', '.join(left)}") if left else True

    wait_until("the end of the culled pods", no_pod, timeout=60, change=pods.change)
    volumes = volume_claims(culled_servers.hub)
    assert not volumes, f"volumes are left: {volumes}"
    routes = culled_servers.hub.api.get("/proxy").raise_for_status().json()
    left = [route for route in routes if any(name in route for name in names)]
    assert not left, f"the proxy still has routes to culled servers: {left}"
    assert not names & set(culled_servers.hub.users()), "the hub still knows culled users"
    stored = {row[0] for row in database.query(culled_servers.hub.database, "SELECT name FROM users")}
    assert not names & stored, "Postgres still has culled users"


@pytest.mark.timeout(900)
def test_returning_visitor_gets_a_new_life(culled_servers: CulledServers) -> None:
    """The cookies of a culled user lead to a new user and a new server, not to an error."""
    before, after = culled_servers.idle.user, culled_servers.returned.result()
    assert after.name != before, f"a culled user came back under the same name, {before}"
    assert after.page.path.startswith(f"/user/{after.name}/"), f"the return ended at {after.page.path}"
    assert after.notebook == 200, f"after the return the notebook answers {after.notebook}"


@pytest.mark.timeout(900)
def test_culler_survives_a_restart_of_its_hub(culled_after_restart: CulledAfterRestart) -> None:
    """After a restart of the hub the culler runs again, and servers from before it are culled."""
    assert not culled_after_restart.trouble, culled_after_restart.trouble
