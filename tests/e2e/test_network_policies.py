"""Network policies are enforced: who reaches the hub, by the gate too, and what a learner's kernel reaches.

What enforces them is in the cluster for these tests alone. Before the first of them a canary that must be refused is
refused on every node, and a pod that no policy is about reaches all that a kernel is asked to reach here: cloud
metadata too, where a stand-in answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

from fixtures.sso import NewLearner
from harness.base.wait import NotYet, TooLateError, wait_until
from harness.cluster.kind import Cluster
from harness.deployment.model import Deployment
from harness.deployment.network_policies import KUBELET_PORT, NetworkPolicies
from harness.hub.api import Hub
from harness.people.learner import at_login
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.plan.hubs import HUBS, STUDENT, HubSpec
from harness.policies.addon import CALLER, METADATA, METADATA_PORT, STRANGER
from harness.policies.probe import Answers, Place, from_kernel, from_pod, from_proxy, missed, reached
from harness.scenarios.ahead import Arrival
from harness.services.postgres import Postgres

pytestmark = pytest.mark.touches("the network of all pods")
LINK = f"/tmplogin?course={EXAMPLE.course}"
two = pytest.mark.students(one=LINK, other=LINK)
"""Two students with a server each."""
SETTLES = 20.0
"""Seconds for a policy to be in force on every node."""
HUB_PORT, PROXY_PORT = 8081, 8001
PORTS = {HUB_PORT: ("the hub's port", "hub"), PROXY_PORT: ("the proxy's API", "proxy-api")}
"""The name of each port that has callers of its own, and its Service."""
HEALTH = "/hub/health"
GATE_TIMEOUT = 90.0
"""Seconds for an answer of the gate, which waits a minute for a proxy whose packets do not come."""
HUB_API, OTHERS, API_SERVER, NODE, CLOUD = (
    "the hub's API",
    "another learner's server",
    "the Kubernetes API",
    "the node",
    "cloud metadata",
)
FORBIDDEN = (OTHERS, API_SERVER, NODE, CLOUD)
each_hub = pytest.mark.parametrize("hub_spec", HUBS, ids=lambda hub_spec: hub_spec.release)
each_forbidden = pytest.mark.parametrize("what", FORBIDDEN)


class Surroundings:
    """What is around a student's kernel, and what of it the kernel reaches."""

    def __init__(self, cluster: Cluster, hub: Hub, one: Student, other: Student) -> None:
        self._cluster, self._namespace, self._student = cluster, hub.namespace, one
        mine, others = (cluster.server_pod(hub.namespace, student.name) for student in (one, other))
        self._pod = mine.metadata.name
        self.node = mine.spec.node_name
        self.places = {
            HUB_API: Place(f"hub.{hub.namespace}", HUB_PORT),
            OTHERS: Place(others.status.pod_ip, 8888),
            API_SERVER: Place("kubernetes.default", 443),
            NODE: Place(mine.status.host_ip, KUBELET_PORT),
            CLOUD: Place(METADATA, METADATA_PORT),
        }

    def hubs_api_from_the_server(self) -> Answers:
        """The hub's API as the server reaches it: one that does not opens no kernel, for it knows no user."""
        return from_pod(self._cluster, self._namespace, self._pod, {HUB_API: self.places[HUB_API]})

    def seen(self) -> Answers:
        """What the kernel reaches now."""
        with self._student.server.kernel() as kernel:
            return from_kernel(lambda cell: kernel.run(cell).stdout, self.places)


@pytest.fixture
def around(
    network_policies: NetworkPolicies, cluster: Cluster, hub: Hub, arrivals: Mapping[str, Arrival]
) -> Surroundings:
    """What is around a student's kernel; a pod that no policy is about reaches what is forbidden to the kernel."""
    found = Surroundings(cluster, hub, arrivals["one"].arrived, arrivals["other"].arrived)
    control = network_policies.from_free_pod(found.node, {name: found.places[name] for name in FORBIDDEN})
    if OTHERS in missed(control):
        # A policy of users' servers is in force already: it lets in who has the label.
        control = {**control, **network_policies.from_hubs_namespace(STUDENT, CALLER, {OTHERS: found.places[OTHERS]})}
    assert not missed(control), f"not even a pod that no policy is about reaches {', '.join(missed(control))}"
    return found


@pytest.fixture
def around_with_policy(around: Surroundings, network_policies: NetworkPolicies) -> Iterator[Surroundings]:
    """The same, with the policy of users' servers in force that the chart renders when it is switched on."""
    with network_policies.policy_on(STUDENT):

        def in_force() -> bool | NotYet:
            there = reached({CLOUD: around.seen()[CLOUD]})
            return NotYet("cloud metadata is reached") if there else True

        # A policy that allows it never will be.
        with suppress(TooLateError):
            wait_until("the policy of users' servers", in_force, timeout=SETTLES)
        yield around


def check_port(network_policies: NetworkPolicies, cluster: Cluster, spec: HubSpec, port: int) -> None:
    """Check that pods of a hub's namespace with the chart's label reach one of PORTS, and that no other pod does."""
    what, service = PORTS[port]
    place = {what: Place(f"{service}.{spec.namespace}", port)}
    wrong = missed(network_policies.from_hubs_namespace(spec, CALLER, place))
    assert not wrong, f"{spec.release}: a pod with the label does not reach {', '.join(wrong)}"
    strangers: dict[str, Callable[[], Answers]] = {
        f"a pod in {spec.namespace} without the label": partial(
            network_policies.from_hubs_namespace, spec, STRANGER, place
        ),
        **{
            f"a pod of another namespace on {node}": partial(network_policies.from_free_pod, node, place)
            for node in cluster.nodes
        },
    }
    # Each waits for an answer that does not come.
    with ThreadPoolExecutor() as pool:
        seen = pool.map(lambda ask: ask(), strangers.values())
        inside = [who for who, answers in zip(strangers, seen, strict=True) if reached(answers)]
    assert not inside, f"{spec.release}: {what} is reached by {', '.join(inside)}"


@pytest.fixture(scope="module")
def port_checks(
    policies_started: NetworkPolicies | str, deployment: Deployment, cluster: Cluster
) -> Iterator[Mapping[tuple[str, int], Future[None]]]:
    """The check of each port of both hubs, by release and port: all at once, for each waits for answers in vain."""
    if isinstance(policies_started, str):
        yield {}
        return
    with ThreadPoolExecutor() as pool:
        yield {
            (spec.release, port): pool.submit(check_port, policies_started, cluster, deployment.plan.hub(spec), port)
            for spec in HUBS
            for port in PORTS
        }


@each_hub
def test_hub_is_reached_by_its_proxy_and_labelled_pods_alone(
    network_policies: NetworkPolicies,
    port_checks: Mapping[tuple[str, int], Future[None]],
    deployment: Deployment,
    cluster: Cluster,
    hub_spec: HubSpec,
) -> None:
    """The hub's port is open to its proxy and to pods of its namespace with the label, and to no other pod."""
    spec = deployment.plan.hub(hub_spec)
    [proxy] = cluster.pods(spec.namespace).look("component=proxy")
    place = {PORTS[HUB_PORT][0]: Place(f"hub.{spec.namespace}", HUB_PORT)}
    wrong = missed(from_proxy(cluster, spec.namespace, proxy.metadata.name, place))
    assert not wrong, f"{spec.release}: its proxy does not reach {', '.join(wrong)}"
    port_checks[hub_spec.release, HUB_PORT].result()


@each_hub
def test_proxys_api_is_reached_by_labelled_pods_alone(
    network_policies: NetworkPolicies, port_checks: Mapping[tuple[str, int], Future[None]], hub_spec: HubSpec
) -> None:
    """The proxy's API, which moves every route, is open to the hub and pods with its label, and to no other pod."""
    port_checks[hub_spec.release, PROXY_PORT].result()


@each_hub
def test_hub_reaches_its_database_and_kubernetes(
    network_policies: NetworkPolicies, deployment: Deployment, database: Postgres, cluster: Cluster, hub_spec: HubSpec
) -> None:
    """The hub reaches its database and the Kubernetes API, without which nobody gets a server."""
    spec = deployment.plan.hub(hub_spec)
    [pod] = cluster.pods(spec.namespace).look("component=hub")
    places = {"its database": Place(database.name, database.PORT), API_SERVER: Place("kubernetes.default", 443)}
    wrong = missed(from_pod(cluster, spec.namespace, pod.metadata.name, places))
    assert not wrong, f"{spec.release}: the hub does not reach {', '.join(wrong)}: see hub.networkPolicy"


@each_hub
def test_gate_is_let_through_to_the_proxy(
    network_policies: NetworkPolicies, learner: NewLearner, hub_spec: HubSpec
) -> None:
    """A person who logs in reaches the hub: its proxy lets the gate in, a pod of another namespace without a label."""
    person = learner(spec=hub_spec)
    person.log_in(person.go_to_login(HEALTH))
    answer = person.get(HEALTH, timeout=GATE_TIMEOUT)
    assert not at_login(answer), f"{hub_spec.release}: a person who has logged in is asked for a login"
    assert answer.status_code == 200, f"{hub_spec.release}: the gate does not reach its proxy: {answer.status_code}"


@two
def test_kernel_reaches_the_hubs_api(around: Surroundings) -> None:
    """A learner's server reaches the hub's API, without which it would not know its user."""
    # The server first: one that does not reach it opens no kernel.
    for look in (around.hubs_api_from_the_server, around.seen):
        seen = look()
        assert HUB_API in reached(seen), f"a learner's server does not reach the hub's API: {seen[HUB_API]}"


@two
@pytest.mark.known_defect("a learner's kernel reaches the whole network: production switches policy and block off")
@each_forbidden
def test_kernel_does_not_reach(around: Surroundings, what: str) -> None:
    """A learner's kernel reaches neither others' servers, nor the Kubernetes API, the node or cloud metadata."""
    assert what not in reached(around.seen()), f"a learner's kernel reaches {what} at {around.places[what]}"


@two
def test_policy_of_users_servers_keeps_a_kernel_in(around_with_policy: Surroundings) -> None:
    """The chart's policy of users' servers, once it is switched on, leaves a kernel the hub and nothing forbidden."""
    seen = around_with_policy.seen()
    assert HUB_API in reached(seen), f"with the policy, a learner's kernel does not reach the hub: {seen[HUB_API]}"
    wrong = [f"{what} at {around_with_policy.places[what]}" for what in FORBIDDEN if what in reached(seen)]
    assert not wrong, f"with the policy, a learner's kernel reaches {', '.join(wrong)}"
