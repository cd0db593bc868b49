"""What operators look at is true: each panel, each alert and the rules behind them, in a running Prometheus.

The times of the alert rules are divided, as those of the culler are; the rules as they are written pass promtool's own
tests.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from harness.base import http
from harness.base.wait import NotYet, wait_until
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import memory_limit, oom_killed
from harness.deployment.model import Deployment
from harness.deployment.releases import metrics_token, read_secrets
from harness.faults.full_nodes import full_house
from harness.hub.api import Hub
from harness.monitoring import panels
from harness.monitoring.addon import AS_WRITTEN, HUB_JOB, KUBELET_JOB, NAMESPACE, POSTGRES_EXPORTER, STATE_METRICS
from harness.monitoring.client import APPEARS_WITHIN, Alert, Monitoring, Sample
from harness.monitoring.grafana import DASHBOARD_PATH
from harness.monitoring.panels import panel
from harness.monitoring.rules import RULE_TESTS
from harness.people.browser import Browser
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.plan.contract import COURSE_REPOSITORY
from harness.plan.hubs import HUBS, HubSpec
from harness.plan.plan import Plan
from harness.scenarios.ahead import Arrival
from harness.scenarios.classroom import ClassArrival
from harness.scenarios.culling import CulledServers, SilentCuller
from harness.scenarios.incidents import FAILURES, CrashedHub, FailedStarts, KilledServer
from harness.services.postgres import Postgres

COUNTS = pytest.mark.touches("what the monitoring counts")
"""A test that counts, or takes the time: it wants no other person on the way."""
CLASS = ("clustering_and_descriptive_ai", "mitxt-6.3710.3x", "uai_source-uai.0", EXAMPLE.course)
CLASS_ARRIVES_WITHIN = 300.0
"""Seconds before a class has arrived in which its servers started."""
GROWTH = 20_000_000
"""Bytes by which a test lets a database grow."""
LEAVES_WITHIN = 30.0
"""Seconds from the end of a server to its end in the panels: its pod's, a scrape, and a busy machine."""


def by(label: str, found: list[Sample]) -> dict[str, float]:
    """Values by the value of one label."""
    return {each.labels[label]: each.value for each in found}


def test_every_source_is_read(monitoring: Monitoring, hub: Hub, authoring_hub: Hub, cluster: Cluster) -> None:
    """Prometheus reads both hubs, both kubelets, Postgres and the state of the cluster."""
    expected = {
        (f"{HUB_JOB}", hub.namespace): 1,
        (f"{HUB_JOB}", authoring_hub.namespace): 1,
        (KUBELET_JOB, ""): len(cluster.nodes),
        (STATE_METRICS, ""): 1,
        (POSTGRES_EXPORTER, ""): 1,
    }
    monitoring.wait_until_read(expected)


@pytest.mark.parametrize("hub_spec", HUBS, ids=lambda hub_spec: hub_spec.release)
def test_token_reads_metrics_and_nothing_else(
    monitoring: Monitoring, plan: Plan, deployment: Deployment, hub_spec: HubSpec
) -> None:
    """The token by which a hub is read opens its metrics, and neither its users nor its servers."""
    asked = deployment.hub(hub_spec)
    headers = {"Authorization": f"token {read_secrets(plan.secrets)[metrics_token(hub_spec)]}"}
    allowed = {
        path: http.get(f"{asked.url}{path}", headers=headers, timeout=30).status_code
        for path in ("/hub/metrics", "/hub/api/users", "/hub/api/services", "/hub/api/proxy")
    }
    assert allowed.pop("/hub/metrics") == 200, f"{asked.release}: the token for metrics does not open /hub/metrics"
    assert set(allowed.values()) == {403}, f"{asked.release}: the token for metrics opens {allowed}"


@pytest.mark.students(**{course: f"/tmplogin?course={course}" for course in CLASS})
def test_healthy_hub_with_a_class_fires_no_alert(
    monitoring: Monitoring, arrivals: Mapping[str, Arrival], hub: Hub, authoring_hub: Hub
) -> None:
    """While a class arrives and works, no alert fires about either hub."""
    began = min(arrival.arrived.began for arrival in arrivals.values())
    for name, arrival in arrivals.items():
        assert arrival.page.status == 200, f"the student of {name} got {arrival.page.status}"
    namespaces = (hub.namespace, authoring_hub.namespace)
    over = f"{time.time() - began:.0f}s"
    fired = monitoring.query(
        f'max_over_time(ALERTS{{alertstate="firing", namespace=~"{"|".join(namespaces)}"}}[{over}])'
    )
    assert not fired, f"alerts about healthy hubs: {'; '.join(each.labels['alertname'] for each in fired)}"
    # The culler of another hub hangs on purpose, in the background.
    received = [
        each
        for each in monitoring.received(began)
        if each.status == "firing" and each.labels.get("namespace") in namespaces
    ]
    assert not received, f"the receiver got alerts about healthy hubs: {'; '.join(map(str, received))}"


@COUNTS
def test_learner_on_a_course_is_that_courses_image_in_the_panel(
    visit: Callable[[], Student], monitoring: Monitoring, hub: Hub, cluster: Cluster
) -> None:
    """A learner on a course is that course's image in the panel of images, and no other's."""
    student = visit()
    student.open(f"/tmplogin?course={EXAMPLE.course}")
    pods = cluster.pods(hub.namespace)

    def courses() -> dict[str, float]:
        images = [pod.spec.containers[0].image for pod in pods.look("component=singleuser-server")]
        return dict(Counter(image.rpartition(":")[2] for image in images))

    assert EXAMPLE.course in courses(), f"no server runs the image of {EXAMPLE.course}, but {courses()}"
    monitoring.wait_for(
        f"each server's course in the panel {panels.IMAGES}, {EXAMPLE.course} among them",
        panel(panels.IMAGES).query(hub.namespace),
        lambda found: by("course", found) == courses(),
    )


@COUNTS
def test_start_of_a_server_is_counted_and_timed(
    visit: Callable[[], Student], monitoring: Monitoring, hub: Hub, no_pending_deletions: None
) -> None:
    """A learner who arrives is one server and one user more, and the time that the start took is in its panel."""
    before = hub.users()
    student = visit()
    student.open(f"/tmplogin?course={EXAMPLE.course}")
    users = hub.users()
    assert users.keys() - before.keys() == {student.name}, f"expected one user more: {users.keys() - before.keys()}"
    servers = sum(bool(user["servers"]) for user in users.values())
    for title, count in ((panels.SERVERS, servers), (panels.USERS, len(users))):
        monitoring.wait_for_value(f"{count} in the panel {title}", panel(title).query(hub.namespace), count)
    took = next(phase.seconds for phase in student.journey.phases if phase.name == "spawn")
    # A histogram knows no more than the two of its bounds between which a start was.
    slowest = 3 * took + 5
    monitoring.wait_for(
        f"a start of {took:.0f} s in the panel {panels.START_TIMES}",
        panel(panels.START_TIMES).query(hub.namespace, "30s"),
        lambda found: any(0 < each.value <= slowest for each in found),
    )


def test_images_on_nodes_are_those_of_the_pre_puller(
    monitoring: Monitoring,
    hub: Hub,
    cluster: Cluster,
    pre_puller: Callable[[], Any | None],
    pre_pulled: set[str],
) -> None:
    """The panel of the pre-puller has every course's image on every node, once the nodes have them."""
    courses = {image.removeprefix(f"{COURSE_REPOSITORY}:") for image in pre_pulled}
    expected = {(node, course): 1.0 for node in cluster.nodes for course in courses}

    assert expected, f"the panel {panels.PRE_PULLER} is empty: the release has no pre-puller"

    def complete(found: list[Sample]) -> bool:
        there = {(each.labels["node"], each.labels["course"]): each.value for each in found}
        return {key: there.get(key) for key in expected} == expected

    def none() -> str | None:
        return None if pre_puller() else "the release has no pre-puller"

    query = panel(panels.PRE_PULLER).query(hub.namespace)
    monitoring.wait_for(f"every image in the panel {panels.PRE_PULLER}", query, complete, timeout=240, fail_if=none)
    on_nodes = {node: cluster.images(node) for node in cluster.nodes}
    missing = [f"{image} on {node}" for node, there in on_nodes.items() for image in pre_pulled - there]
    assert not missing, f"the panel {panels.PRE_PULLER} has images that are not on the nodes: {'; '.join(missing)}"


@COUNTS
def test_used_up_room_is_in_the_panel(
    visit: Callable[[], Student], monitoring: Monitoring, hub: Hub, cluster: Cluster, no_pending_deletions: None
) -> None:
    """When a learner's server takes the room that was kept, the panel of placeholders falls, and it recovers."""
    ready = panel(panels.PLACEHOLDERS).query(hub.namespace)
    with full_house(cluster, hub.namespace):
        monitoring.wait_for_value("a placeholder that is ready", ready, 1)
        visit().open(f"/tmplogin?course={EXAMPLE.course}")
        monitoring.wait_for_value("no placeholder left", ready, 0)


def test_memory_of_hub_and_proxy_is_what_their_cgroups_say(monitoring: Monitoring, hub: Hub, cluster: Cluster) -> None:
    """The panel of memory agrees with what the hub's own cgroup counts, against the hub's limit."""
    read = "cat /sys/fs/cgroup/memory/memory.usage_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.current"
    [pod] = cluster.pods(hub.namespace).look("component=hub")
    used = int(cluster.execute(hub.namespace, pod.metadata.name, "sh", "-c", read))
    if memory_limit(pod, "hub") == "none":
        pytest.skip(f"{hub.release}: the hub has no memory limit, of which the panel shows its share")
    limits = f'kube_pod_container_resource_limits{{namespace="{hub.namespace}", container="hub", resource="memory"}}'
    limit = monitoring.wait_for("a memory limit of the hub", limits)[0].value
    shown = by(
        "container", monitoring.wait_for("both", panel(panels.MEMORY).query(hub.namespace), lambda f: len(f) > 1)
    )
    assert shown.keys() == {"hub", "chp"}, f"the panel {panels.MEMORY} has {sorted(shown)}"
    # The kernel counts files, too, that it would let go of.
    assert 0.3 * used <= shown["hub"] * limit <= 1.2 * used, (
        f"the panel has {shown['hub']:.0%} of {limit:.0f} bytes, and the hub's cgroup counts {used}"
    )


@COUNTS
def test_hubs_answers_are_timed(monitoring: Monitoring, hub: Hub) -> None:
    """The time of a hub's answers is in its panel, and no longer than the person who asked waited."""
    waited = [hub.api.get("/users").elapsed.total_seconds() for _ in range(20)]
    query = panel(panels.LATENCY).query(hub.namespace, "30s")
    # The bounds of the histogram lie up to three times apart.
    slowest = 3 * max(waited) + 1
    monitoring.wait_for(
        f"an answer within {slowest:.1f} s", query, lambda found: any(0 < each.value <= slowest for each in found)
    )


def test_growing_database_is_in_the_panel(monitoring: Monitoring, hub: Hub, database: Postgres) -> None:
    """A hub's database that grows, grows in its panel."""
    query = panel(panels.DATABASE).query()
    shown = by("datname", monitoring.wait_for("both databases", query))
    assert hub.database in shown, f"the panel {panels.DATABASE} has {sorted(shown)}, and not {hub.database}"
    before = shown[hub.database]
    table = "harness_growth"
    rows = GROWTH // 1000
    sql = f"CREATE TABLE {table} AS SELECT repeat(md5(i::text), 31) FROM generate_series(1, {rows}) AS i"
    try:
        database.query(hub.database, sql)
        what = f"a growth of {GROWTH} bytes in the panel {panels.DATABASE}"
        monitoring.wait_for(what, query, lambda found: by("datname", found)[hub.database] >= before + 0.8 * GROWTH)
    finally:
        database.query(hub.database, f"DROP TABLE IF EXISTS {table}")


@COUNTS
def test_killed_server_is_a_restart_with_its_course_and_reason(
    killed_server: KilledServer, monitoring: Monitoring, hub: Hub, cluster: Cluster
) -> None:
    """A server that is killed for its memory is a restart of its course, with the reason."""
    name, ago = killed_server.student.name, time.time() - killed_server.began
    monitoring.wait_for(
        f"a restart of {EXAMPLE.course} in the panel {panels.RESTARTS}",
        panel(panels.RESTARTS).query(hub.namespace, f"{ago + APPEARS_WITHIN:.0f}s"),
        lambda found: by("course", found).get(EXAMPLE.course, 0) > 0,
    )
    assert oom_killed([cluster.server_pod(hub.namespace, name)]), f"the server of {name} was not OOMKilled"
    monitoring.wait_for(
        f"one more server of {EXAMPLE.course} in the panel {panels.MEMORY_KILLS}",
        panel(panels.MEMORY_KILLS).query(hub.namespace),
        lambda found: by("course", found).get(EXAMPLE.course, 0) == killed_server.before + 1,
    )


@COUNTS
def test_stuck_puller_is_told(stuck_pre_puller: Alert, hub: Hub) -> None:
    """A pre-puller that asks for an image that is not there is an alert at the receiver, with what to do."""
    alert = stuck_pre_puller
    assert alert.labels["severity"] == "warning", f"expected a warning: {alert}"
    assert "kubectl describe pod continuous-image-puller-" in alert.annotations["action"], f"{alert.annotations}"


@COUNTS
def test_failed_starts_are_told(failed_starts: FailedStarts, hub: Hub) -> None:
    """Servers that do not start are in their panel, and an alert before the hub ends itself."""
    alert, shown = failed_starts.alert, sum(each.value for each in failed_starts.panel)
    assert alert.labels["severity"] == "critical", f"expected a critical alert: {alert}"
    assert shown >= FAILURES - 0.5, f"of {FAILURES} failed starts the panel {panels.START_FAILURES} has {shown:g}"


@COUNTS
def test_crashed_hub_is_told(crashed_hub: CrashedHub, hub: Hub) -> None:
    """A hub that is killed is an alert at the receiver, and not available in its panel."""
    alert, lowest = crashed_hub.alert, crashed_hub.lowest
    assert alert.labels["severity"] == "critical", f"expected a critical alert: {alert}"
    assert lowest["hub"] == 0, f"the panel {panels.AVAILABLE} had the hub at {lowest['hub']:g} while it was down"


def test_rules_pass_promtools_tests(monitoring: Monitoring, cluster: Cluster) -> None:
    """The alert rules as they are written, with production's times, pass promtool's tests of them."""
    [pod] = cluster.pods(NAMESPACE).look("app.kubernetes.io/name=prometheus")
    for command in (("check", "rules", AS_WRITTEN), ("test", "rules", RULE_TESTS.rpartition("/")[2])):
        run = f"cd /etc/prometheus && promtool {' '.join(command)} 2>&1"
        said = cluster.execute(NAMESPACE, pod.metadata.name, "sh", "-c", run)
        assert "SUCCESS" in said, f"promtool {' '.join(command)}: {said}"
        assert "FAILED" not in said, f"promtool {' '.join(command)}: {said}"


def test_grafana_shows_every_panel(
    grafana: str, open_window: Callable[[], AbstractContextManager[Browser]], evidence_dir: Path
) -> None:
    """Grafana, which was given the dashboard, shows every panel of it, each with its data."""
    with open_window() as window:
        window.driver.set_window_size(1600, 400 * len(panels.PANELS))
        window.open(f"{grafana}{DASHBOARD_PATH}")

        def shown() -> str | NotYet:
            text = "".join(window.texts("body"))
            missing = [each.title for each in panels.PANELS if each.title not in text]
            return NotYet(f"no {', no '.join(missing)}") if missing else text

        text = wait_until("every panel on Grafana's page", shown, timeout=60)
        picture = window.screenshot(evidence_dir / "grafana.png")
    assert "No data" not in text, f"a panel has no data: {picture}"


@COUNTS
@pytest.mark.known_defect("JupyterHub sets the count to the servers that start, and adds each once more when it is up")
def test_servers_that_start_side_by_side_are_counted_once(
    monitoring: Monitoring, hub: Hub, student_class: ClassArrival
) -> None:
    """While a class arrives, the panel of servers has no more of them than there are users."""
    servers, users = (panel(title).query(hub.namespace) for title in (panels.SERVERS, panels.USERS))
    [most] = monitoring.query(f"max_over_time((({servers}) - ({users}))[{CLASS_ARRIVES_WITHIN:.0f}s:5s])")
    assert most.value <= 0, f"the panel {panels.SERVERS} had {most.value:g} more than the panel {panels.USERS}"


@pytest.mark.timeout(900)
def test_culled_server_leaves_the_panels(monitoring: Monitoring, culled_servers: CulledServers) -> None:
    """A server that the culler removes is gone from the panel of images, and counted among the removed."""
    servers, namespace = (culled_servers.idle, culled_servers.busy, culled_servers.page), culled_servers.hub.namespace
    idle, end = culled_servers.idle, max(each.ended for each in servers)

    def shown(began: float, ended: float) -> set[float]:
        """Return what the panel of images had of the servers' course between two times."""
        found = monitoring.series(panel(panels.IMAGES).query(namespace), began, ended, 1)
        return {value for each in found if each.labels["course"] == EXAMPLE.course for _, value in each.points}

    assert idle.gone_at is not None, (
        f"an idle server is still there after {idle.last_seen:.0f} s, and so in the panel {panels.IMAGES}"
    )
    # The pod of a server that ends is gone before the hub says so.
    before = shown(max(each.ready_at for each in servers), idle.seen_last)
    after = shown(idle.ended, idle.ended + LEAVES_WITHIN)
    assert max(before, default=0) == len(servers), (
        f"with {len(servers)} servers the panel {panels.IMAGES} had {sorted(before)}"
    )
    assert len(servers) - 1 in after, (
        f"{LEAVES_WITHIN:.0f} s after the idle one of {len(servers)} servers was culled, the panel {panels.IMAGES} had "
        f"{sorted(after)}"
    )
    # A count that appears, as with the first removal after a hub's start, has not grown.
    removed = panel(panels.REMOVED).query(namespace)
    found = monitoring.series(removed, idle.ended, end + LEAVES_WITHIN, 1)
    highest = {each.labels["handler"]: max(value for _, value in each.points) for each in found}
    users = [value for handler, value in highest.items() if "UserAPIHandler" in handler]
    assert any(value > 0 for value in users), f"of two more removed users the panel {panels.REMOVED} has {highest}"


@pytest.mark.timeout(900)
def test_stopped_culler_is_told(silent_culler: SilentCuller) -> None:
    """A culler that hangs is an alert at the receiver, and one that looks is none."""
    assert not silent_culler.early, f"a culler that looks is told as silent: {silent_culler.early[0]}"
    alert = silent_culler.alert
    assert alert.labels["severity"] == "warning", f"expected a warning: {alert}"
