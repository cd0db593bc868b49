"""The owners' own alert rules, as far as they touch the hubs: which fire, and which cannot.

They are read from the checkout that --ol-infrastructure names, and evaluated in the running Prometheus as Grafana does
it for them: the last value of a query, above zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from fixtures.infrastructure import NO_PROGRAM
from harness.cluster.kind import Cluster
from harness.deployment.rollout import wait_for_answer, wait_until_ready
from harness.faults.broken_hub import unavailable_hub
from harness.faults.full_nodes import full_house
from harness.hub.api import Hub
from harness.monitoring import panels
from harness.monitoring.client import Alert, Monitoring
from harness.monitoring.owners import CLUSTER_RULES, EDGE_RULES, OwnersRule, read_owners_rules
from harness.monitoring.panels import PRODUCTION_KEEPS, panel
from harness.monitoring.rules import metrics_in
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.plan.plan import Plan
from harness.scenarios.incidents import CrashedHub, KilledServer
from harness.scenarios.user_cleanup import UserCleanup

TOUCHING = ("DaemonsetReplicasMissing", "DeploymentUnavailable", "StatefulSetReplicasMissing", "PodCrashLooping")
"""Rules about kinds that a hub's release has, by the beginning of their names."""
INCIDENTS = pytest.mark.touches("the hub, in the incidents")
HEALTHY_NODES = ('condition="Ready"', 'condition="DiskPressure"')
"""The condition that NodeNotReady looks at, and one that is not true of any healthy node: the same query matches it."""


@pytest.fixture(scope="module")
def rules(plan: Plan) -> Mapping[str, OwnersRule]:
    """The owners' rules about the cluster and the gate, by name."""
    if not plan.ol_infrastructure:
        pytest.skip(NO_PROGRAM)
    return read_owners_rules(plan.ol_infrastructure.checkout, CLUSTER_RULES, *EDGE_RULES)


@pytest.fixture(scope="class")
def hub_is_gone(monitoring_up: Monitoring | str, hub: Hub, cluster: Cluster, departures: UserCleanup) -> Iterator[None]:
    """The students' hub gone, as the monitoring sees it; it is back at the end."""
    if isinstance(monitoring_up, str):
        yield
        return
    # A hub that does not come back by itself deletes no user.
    departures.wait()
    try:
        with unavailable_hub(cluster, hub):
            about = f'{{deployment="hub", namespace="{hub.namespace}"}}'
            available, there = (f"kube_deployment_status_replicas{kind}{about}" for kind in ("_available", ""))
            monitoring_up.wait_for_value("the end of the hub in kube-state-metrics", available, 0)
            # Between the end of the old pod and the next there is none, and a share of nothing is no value.
            monitoring_up.wait_for_value("the hub's next pod in kube-state-metrics", there, 1)
            yield
    finally:
        wait_until_ready(cluster, hub.namespace)
        wait_for_answer(hub)


@pytest.mark.parametrize("beginning", TOUCHING)
def test_rule_that_touches_the_hubs_asks_for_what_production_keeps(
    rules: Mapping[str, OwnersRule], beginning: str
) -> None:
    """A rule that touches the hubs has a severity, and asks for metrics that production's collector keeps."""
    there = [rule for name, rule in rules.items() if name.startswith(beginning)]
    assert there, f"the owners have no rule {beginning}"
    for rule in there:
        dropped = [name for name in metrics_in(rule.expression) if not PRODUCTION_KEEPS.fullmatch(name)]
        assert not dropped, f"{rule.file}, line {rule.line}: {rule.name} asks for {dropped}, which are not collected"
        assert rule.severity, f"{rule.file}, line {rule.line}: {rule.name} has no severity, and is delivered nowhere"


@pytest.mark.known_defect("the rule asks for kube_deployment_status_replicas, which production's collector drops")
def test_rule_about_missing_replicas_has_data(rules: Mapping[str, OwnersRule]) -> None:
    """The rule about a Deployment that lacks replicas asks for metrics that production's collector keeps."""
    asked = metrics_in(rules["DeploymentReplicasMissingCritical"].expression)
    dropped = sorted(name for name in asked if not PRODUCTION_KEEPS.fullmatch(name))
    assert not dropped, f"it asks for {dropped}"


@pytest.mark.known_defect("the rules about the gate have no severity, and a notification without one goes nowhere")
@pytest.mark.parametrize("beginning", ["APISIXEdge5xxRate", "APISIXOIDCCallbackFailureRate"])
def test_rules_about_the_gate_are_delivered(rules: Mapping[str, OwnersRule], beginning: str) -> None:
    """A rule about the gate in front of the hubs has a severity, by which it finds a receiver."""
    there = [rule for name, rule in rules.items() if name.startswith(beginning)]
    assert there, f"the owners have no rule {beginning}"
    assert all(rule.severity for rule in there), f"{', '.join(rule.name for rule in there)} have no severity"


@INCIDENTS
@pytest.mark.known_defect("it wants three kills of one container within an hour, and a learner's server is killed once")
def test_rule_about_memory_kills_speaks_of_a_learners_server(
    monitoring: Monitoring, rules: Mapping[str, OwnersRule], hub: Hub, cluster: Cluster, killed_server: KilledServer
) -> None:
    """The rule about containers that are killed for memory fires for a learner's server, whose work is lost."""
    pod = cluster.server_pod(hub.namespace, killed_server.student.name).metadata.name
    fires = [each.labels["pod"] for each in rules["PodOOMKilledCritical"].fires(monitoring)]
    assert pod in fires, f"PodOOMKilledCritical fires for {', '.join(fires) or 'nothing'}"


@INCIDENTS
@pytest.mark.known_defect("it counts pods that are scheduled to a node, and those of a stuck pre-puller are")
def test_rule_about_daemonsets_speaks_of_a_stuck_pre_puller(
    monitoring: Monitoring, rules: Mapping[str, OwnersRule], hub: Hub, stuck_pre_puller: Alert
) -> None:
    """The rule about DaemonSets fires for a pre-puller that cannot pull an image."""
    fires = rules["DaemonsetReplicasMissingCritical"].fires(monitoring, stuck_pre_puller.received)
    namespaces = [each.labels["namespace"] for each in fires]
    assert hub.namespace in namespaces, f"DaemonsetReplicasMissingCritical fires for {namespaces or 'nothing'}"


@INCIDENTS
@pytest.mark.known_defect("it wants a container that Kubernetes holds back, and a hub that ended once is none")
def test_rule_about_crashes_speaks_of_a_hub_that_ended(
    monitoring: Monitoring, rules: Mapping[str, OwnersRule], hub: Hub, crashed_hub: CrashedHub
) -> None:
    """The rule about pods that crash fires for a hub that was killed once and came back."""
    fires = rules["PodCrashLoopingCritical"].fires(monitoring, crashed_hub.alert.received)
    namespaces = [each.labels["namespace"] for each in fires]
    assert hub.namespace in namespaces, f"PodCrashLoopingCritical fires for {namespaces or 'nothing'}"


@pytest.mark.touches("the hub")
@pytest.mark.usefixtures("hub_is_gone")
class TestHubThatIsGone:
    """The rules of the owners that are about a Deployment, for a hub that is not available."""

    def test_owners_are_told(self, monitoring: Monitoring, rules: Mapping[str, OwnersRule], hub: Hub) -> None:
        """A rule of the owners fires for a hub that is not available."""
        fires = rules["DeploymentUnavailableCritical"].fires(monitoring)
        found = {(each.labels["namespace"], each.labels["deployment"]) for each in fires}
        assert (hub.namespace, "hub") in found, f"DeploymentUnavailableCritical fires for {sorted(found) or 'nothing'}"

    @pytest.mark.known_defect("in a total outage its value is 0, and Grafana's threshold lets pass what is above 0")
    def test_rule_about_missing_replicas_speaks(
        self, monitoring: Monitoring, rules: Mapping[str, OwnersRule], hub: Hub
    ) -> None:
        """The rule about a Deployment that lacks replicas fires when it lacks all of them."""
        _speaks(monitoring, rules["DeploymentReplicasMissingCritical"], hub.namespace)


@pytest.mark.touches("the room for servers")
@pytest.mark.known_defect("with no room left at all its value is 0, and Grafana's threshold lets pass what is above 0")
def test_rule_about_placeholders_speaks_when_no_room_is_left(
    monitoring: Monitoring,
    rules: Mapping[str, OwnersRule],
    hub: Hub,
    cluster: Cluster,
    visit: Callable[[], Student],
    no_pending_deletions: None,
) -> None:
    """The rule about a StatefulSet that lacks replicas fires when a learner took all the room that was kept."""
    with full_house(cluster, hub.namespace):
        visit().open(f"/tmplogin?course={EXAMPLE.course}")
        monitoring.wait_for_value("no placeholder left", panel(panels.PLACEHOLDERS).query(hub.namespace), 0)
        _speaks(monitoring, rules["StatefulSetReplicasMissingCritical"], hub.namespace)


@pytest.mark.known_defect("its value is 0 whenever it matches, and Grafana's threshold lets pass what is above 0 alone")
def test_rule_about_a_node_that_is_not_ready_can_fire(
    monitoring: Monitoring, rules: Mapping[str, OwnersRule], cluster: Cluster
) -> None:
    """The rule about a node that is not ready fires for what its query matches."""
    rule = rules["NodeNotReadyCritical"]
    query = rule.expression.replace(*HEALTHY_NODES)
    if query == rule.expression:
        pytest.skip(f"{rule.name} no longer looks at {HEALTHY_NODES[0]}")
    matches = monitoring.wait_for("a match of the query", query, lambda found: len(found) == len(cluster.nodes))
    values = {each.labels["node"]: each.value for each in matches}
    assert all(value > 0 for value in values.values()), f"it matches {values}"


def _speaks(monitoring: Monitoring, rule: OwnersRule, namespace: str) -> None:
    """Assert that a rule matches a namespace, and that what it matches fires."""
    matches = [each for each in rule.matches(monitoring) if each.labels.get("namespace") == namespace]
    if not matches:
        pytest.skip(f"{rule.name} does not match: it is about something else now")
    fires = [each for each in rule.fires(monitoring) if each.labels.get("namespace") == namespace]
    assert fires, f"{rule.file}, line {rule.line}: {rule.name} matches {'; '.join(map(str, matches))} and does not fire"
