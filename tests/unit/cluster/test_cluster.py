"""The cluster: its configuration, how kind is called, and why pods are stuck."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from pytest_kind import KindCluster

from harness.base.errors import HarnessError
from harness.base.wait import NotYet, wait_until
from harness.cluster.client import NoAnswerError
from harness.cluster.kind import Cluster, check_port
from harness.cluster.pod_health import why_stuck
from harness.cluster.pods import MADE_ANEW_WITHIN, PodWatch
from tests.unit.fakes import Program

ROOT = Path(__file__).parents[3]
IMAGE = "registry.example/courses:clustering"


def state(waiting: str | None = None, ended: str | None = None, message: str | None = None) -> client.V1ContainerState:
    return client.V1ContainerState(
        waiting=client.V1ContainerStateWaiting(reason=waiting, message=message) if waiting else None,
        terminated=client.V1ContainerStateTerminated(reason=ended, exit_code=137) if ended else None,
        running=None if waiting or ended else client.V1ContainerStateRunning(),
    )


def container(
    now: client.V1ContainerState,
    before: client.V1ContainerState | None = None,
    name: str = "notebook",
    ready: bool = False,
) -> client.V1ContainerStatus:
    return client.V1ContainerStatus(
        name=name, image=IMAGE, image_id="", ready=ready, restart_count=0, state=now, last_state=before
    )


def pod(
    *containers: client.V1ContainerStatus,
    init: list[client.V1ContainerStatus] | None = None,
    unschedulable: str | None = None,
    leaving: bool = False,
) -> client.V1Pod:
    limits = client.V1ResourceRequirements(limits={"memory": "2Gi", "cpu": "1"})
    specs = [client.V1Container(name="sidecar"), client.V1Container(name="notebook", resources=limits)]
    condition = client.V1PodCondition(
        type="PodScheduled", status="False", reason="Unschedulable", message=unschedulable
    )
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name="jupyter-1", deletion_timestamp="2026-01-01" if leaving else None),
        spec=client.V1PodSpec(containers=specs, init_containers=[client.V1Container(name="block-metadata")]),
        status=client.V1PodStatus(
            conditions=[condition] if unschedulable else None,
            container_statuses=list(containers) or None,
            init_container_statuses=init,
        ),
    )


FITS_NOWHERE = (
    "0/2 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s). "
    "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
    "1 Preemption is not helpful for scheduling."
)
MAY_PREEMPT = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."
NO_SUCH_NODE = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
COMING_UP = "0/2 nodes are available: 2 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."
CRASHED = container(state("CrashLoopBackOff", message="back-off 10s"), state(ended="Error"))
OUT_OF_MEMORY = container(state("CrashLoopBackOff", message="back-off 10s"), state(ended="OOMKilled"))


class TestWhyStuck:
    @pytest.mark.parametrize(
        ("stuck", "why"),
        [
            (
                pod(container(state("ImagePullBackOff", message="Back-off pulling image"))),
                f"pod jupyter-1: container notebook: ImagePullBackOff, image {IMAGE}: Back-off pulling image",
            ),
            (
                pod(container(state("CreateContainerConfigError"))),
                f"pod jupyter-1: container notebook: CreateContainerConfigError, image {IMAGE}",
            ),
            (
                pod(init=[container(state("ErrImagePull"), name="block-metadata")]),
                f"pod jupyter-1: container block-metadata: ErrImagePull, image {IMAGE}",
            ),
            (
                pod(container(state(), name="sidecar", ready=True), container(state("ErrImagePull"))),
                f"pod jupyter-1: container notebook: ErrImagePull, image {IMAGE}",
            ),
            (
                pod(container(state(ended="OOMKilled"))),
                "pod jupyter-1: container notebook was OOMKilled: over its limit of 2Gi",
            ),
            (pod(OUT_OF_MEMORY), "pod jupyter-1: container notebook was OOMKilled: over its limit of 2Gi"),
            (
                pod(container(state(ended="OOMKilled"), name="sidecar")),
                "pod jupyter-1: container sidecar was OOMKilled: over its limit of none",
            ),
            (pod(unschedulable=NO_SUCH_NODE), f"pod jupyter-1 is Unschedulable: {NO_SUCH_NODE}"),
            (pod(unschedulable=FITS_NOWHERE), f"pod jupyter-1 is Unschedulable: {FITS_NOWHERE}"),
        ],
    )
    def test_hopeless(self, stuck: client.V1Pod, why: str) -> None:
        assert why_stuck([pod(container(state(), ready=True)), stuck]) == why

    @pytest.mark.parametrize(
        "coming",
        [
            pod(),
            pod(unschedulable=MAY_PREEMPT),
            pod(unschedulable=COMING_UP),
            pod(container(state("ContainerCreating"))),
            pod(container(state("PodInitializing")), init=[container(state(), name="block-metadata")]),
            pod(container(state(ended="Completed"))),
            pod(container(state(), before=state(ended="OOMKilled"), ready=True)),
            pod(container(state("ImagePullBackOff")), leaving=True),
            pod(container(state("CreateContainerConfigError", message="failed to sync secret cache: timed out"))),
        ],
        ids=[
            "new",
            "preempts",
            "node-not-ready",
            "creating",
            "init",
            "completed",
            "recovered",
            "leaving",
            "asks-again",
        ],
    )
    def test_may_still_come(self, coming: client.V1Pod) -> None:
        assert why_stuck([coming]) is None

    def test_a_crash_shows_the_end_of_the_log(self) -> None:
        asked = []

        def log(name: str, container: str, before: bool) -> str:
            asked.append((name, container, before))
            return "".join(f"line {number}\n" for number in range(40)) + "KeyError: 'image'\n"

        why = why_stuck([pod(CRASHED)], log)
        assert why is not None
        first, *lines = why.splitlines()
        assert first == (
            f"pod jupyter-1: container notebook: CrashLoopBackOff, image {IMAGE}: back-off 10s. "
            "It said last: KeyError: 'image'"
        )
        assert len(lines) == 15
        assert lines[-1] == "  | KeyError: 'image'"
        assert asked == [("jupyter-1", "notebook", True)]

    def test_the_second_crash_is_told_before_the_kubelet_says_that_it_waits(self) -> None:
        twice = container(state(ended="Error"))
        twice.restart_count, twice.state.terminated.exit_code = 1, 127
        # Of a run that has ended the kubelet keeps the log, and of the one before no longer.
        why = why_stuck([pod(twice)], lambda pod, container, before: "" if before else "singleuser: not found\n")
        assert why == (
            f"pod jupyter-1: container notebook crashed twice, exit code 127, image {IMAGE}. "
            "It said last: singleuser: not found\n  | singleuser: not found"
        )

    def test_what_never_ran_is_told_as_the_runtime_tells_it(self) -> None:
        before = state(ended="StartError")
        before.terminated.message = "no such namespace"
        why = why_stuck([pod(container(state("CrashLoopBackOff"), before))])
        # Its sandbox may have been killed for its memory, and no more is said of that.
        assert why == (
            "pod jupyter-1: container notebook: CrashLoopBackOff, StartError with a memory limit of 2Gi: "
            f"no such namespace, image {IMAGE}"
        )
        without = why_stuck([pod(container(state("CrashLoopBackOff"), before, name="sidecar"))])
        assert without is not None
        assert "CrashLoopBackOff, StartError: no such namespace" in without

    def test_a_program_that_is_not_there_has_nothing_to_do_with_memory(self) -> None:
        before = state(ended="StartError")
        before.terminated.message = 'exec: "start-singleuser": executable file not found in $PATH'
        why = why_stuck([pod(container(state("CrashLoopBackOff"), before))])
        assert why is not None
        assert "memory" not in why

    @pytest.mark.parametrize(("restarts", "code"), [(0, 1), (1, 0)])
    def test_one_crash_may_be_a_chance(self, restarts: int, code: int) -> None:
        ended = container(state(ended="Error"))
        ended.restart_count, ended.state.terminated.exit_code = restarts, code
        assert why_stuck([pod(ended)]) is None

    def test_no_log_is_asked_for_where_nothing_ran(self) -> None:
        def log(name: str, container: str, before: bool) -> str:
            raise AssertionError("there is no log of what was never started")

        assert why_stuck([pod(container(state("ErrImagePull")))], log)


class TestPort:
    def test_free(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        check_port(port)

    @pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
    def test_taken(self, address: str) -> None:
        with socket.socket() as other:
            other.bind((address, 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(HarnessError) as error:
                check_port(port)
        assert str(error.value) == (
            f"Port {port} on 127.0.0.1 is taken (Address already in use). Give another, or 0 for any free one."
        )

    def test_only_root_may_have_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Docker publishes the port, and Docker is root."""

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("harness.cluster.kind.socket.socket.bind", refuse)
        check_port(80)


KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: it
contexts: [{{name: it, context: {{cluster: it, user: it}}}}]
clusters: [{{name: it, cluster: {{server: "{server}"}}}}]
users: [{{name: it, user: {{token: abc}}}}]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everything lies, with a blank in its name; `timeout` is a stand-in that writes down what it is given."""
    place = tmp_path / "my checkout"
    (place / "state").mkdir(parents=True)
    Program(place / "bin", "timeout", 'while case "$1" in -*) ;; *) false ;; esac; do shift; done; shift; exec "$@"')
    monkeypatch.setenv("PATH", f"{place}/bin:{os.environ['PATH']}")
    return place


def cluster(place: Path, kind: str = "exit 1", network: str | None = None) -> Cluster:
    Program(place / "bin", "kind", kind)
    Program(place / "bin", "kubectl")
    tools = place / "bin"
    return Cluster(
        "jh-1", place / "state", kind=tools / "kind", kubectl=tools / "kubectl", image="node:1", network=network
    )


def create(it: Cluster, hub_port: int = 0, authoring_port: int = 0) -> None:
    it.create(ROOT / "kind-config.yaml", hub_port=hub_port, authoring_port=authoring_port)


def failed(it: Cluster, **ports: int) -> str:
    with pytest.raises(HarnessError) as error:
        create(it, **ports)
    return str(error.value)


def configuration(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((place / "state/kind-config.yaml").read_text())
    return found


class TestNodes:
    """What is done to the nodes that kind has made."""

    @pytest.fixture
    def made(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Cluster, Program]:
        """A cluster and its docker. When kind is done, the API server does not know the worker yet."""
        network = json.dumps([{"NetworkSettings": {"Networks": {"jh-1": {"IPAddress": "9.9.9.9"}}}}])
        docker = Program(place / "bin", "docker", f"[ $1 = exec ] || echo '{network}'")
        it = cluster(place)
        looks = {it.control_plane: ["10.244.0.0/24"], it.nodes[1]: ["", "10.244.1.0/24"]}
        patched: list[str] = []

        def read(core: client.CoreV1Api, name: str) -> client.V1Node:
            if pods := looks[name].pop(0):
                return client.V1Node(spec=client.V1NodeSpec(pod_cidr=pods))
            raise ApiException(404, "Not Found")

        nodes = client.V1NodeList(items=[node(name, "True") for name in it.nodes])
        monkeypatch.setattr(KindCluster, "create", lambda *_: None)
        monkeypatch.setattr(client.CoreV1Api, "read_node", read)
        monkeypatch.setattr(client.CoreV1Api, "list_node", lambda core: nodes)
        monkeypatch.setattr(client.CoreV1Api, "patch_node_status", lambda core, name, patch: patched.append(name))
        monkeypatch.setattr(Cluster, "api", client.ApiClient())
        create(it)
        assert patched == [it.nodes[1]], "the worker is the one with GPUs"
        return it, docker

    def test_each_has_a_route_to_the_others_pods(self, made: tuple[Cluster, Program]) -> None:
        """Though the API server knew the worker a moment later than kind was done with it."""
        for name, others in zip(made[0].nodes, ("10.244.1.0/24", "10.244.0.0/24"), strict=True):
            assert f"ip route replace {others} via 9.9.9.9 && " in self.done_in(name, made[1])

    def test_what_is_meant_for_the_cluster_never_leaves_it(self, made: tuple[Cluster, Program]) -> None:
        for name in made[0].nodes:
            done = self.done_in(name, made[1])
            assert "ip route replace unreachable 10.244.0.0/16 && " in done, "pods that are gone"
            for chain in ("FORWARD", "OUTPUT"):
                assert f"iptables --append {chain} --destination 10.96.0.0/16 --jump REJECT" in done, "Services"

    def done_in(self, name: str, docker: Program) -> str:
        [call] = [call for call in docker.calls if call.startswith(f"exec {name} ")]
        return call


class TestConfiguration:
    @pytest.mark.parametrize(("given", "published"), [((0, 0), (-1, -1)), ((0, 8001), (-1, 8001))])
    def test_ports_are_on_loopback(self, place: Path, given: tuple[int, int], published: tuple[int, int]) -> None:
        failed(cluster(place), hub_port=given[0], authoring_port=given[1])
        control_plane, worker = configuration(place)["nodes"]
        assert control_plane["extraPortMappings"] == [
            {"containerPort": 30000, "hostPort": published[0], "listenAddress": "127.0.0.1"},
            {"containerPort": 30001, "hostPort": published[1], "listenAddress": "127.0.0.1"},
            {"containerPort": 30002, "hostPort": -1, "listenAddress": "127.0.0.1"},
        ]
        assert "extraPortMappings" not in worker
        assert "networking" not in configuration(place), "kind's own default for the API server is the loopback"

    def test_nodes_see_the_registries_and_nobody_else_does(self, place: Path) -> None:
        """The directory holds the credentials of the private registry."""
        failed(cluster(place))
        certs = place / "state/certs.d"
        mount = {"hostPath": str(certs), "containerPath": "/etc/containerd/certs.d"}
        assert [node["extraMounts"] for node in configuration(place)["nodes"]] == [[mount], [mount]]
        assert certs.stat().st_mode & 0o777 == 0o700

    def test_the_worker_plays_the_gpu_node(self, place: Path) -> None:
        failed(cluster(place))
        control_plane, worker = configuration(place)["nodes"]
        assert worker["labels"] == {"ol.mit.edu/gpu_node": "true"}
        [joining] = map(yaml.safe_load, worker["kubeadmConfigPatches"])
        assert joining["nodeRegistration"]["taints"] == [
            {"key": "ol.mit.edu/gpu_node", "value": "true", "effect": "NoSchedule"}
        ]
        [starting] = map(yaml.safe_load, control_plane["kubeadmConfigPatches"])
        assert starting["nodeRegistration"]["taints"] == []


class TestKind:
    @pytest.mark.parametrize(("given", "used"), [(None, "jh-1"), ("shared", "shared")])
    def test_network_of_its_own(self, place: Path, given: str | None, used: str) -> None:
        it = cluster(place, 'echo "$KIND_EXPERIMENTAL_DOCKER_NETWORK" >> "$here/network"; [ "$1" = get ]', given)
        failed(it)
        assert (place / "bin/network").read_text().split() == [used, used]

    def test_bounded(self, place: Path) -> None:
        it = cluster(place, '[ "$1" = get ]')
        failed(it)
        listing, creating = (place / "bin/timeout.calls").read_text().splitlines()
        assert listing == f"30 {place}/bin/kind get clusters"
        limit, found, _ = creating.partition(f" {place}/bin/kind create cluster --name=jh-1 ")
        assert found
        assert "300" in limit.split()

    def test_ends_with_its_script(self, place: Path) -> None:
        """KindCluster kills the script on Ctrl-C, and kind must not go on making nodes."""
        (place / "bin/timeout").unlink()
        os.mkfifo(place / "bin/pid")
        it = cluster(place, 'echo $$ > "$here/pid"; exec sleep 60')
        it._kind_cluster()
        script = subprocess.Popen([place / "state/kind", "create"])
        pid = (place / "bin/pid").read_text().strip()
        script.kill()
        script.wait()

        def ended() -> bool | NotYet:
            status = Path(f"/proc/{pid}/status")
            return not status.exists() or "\nState:\tZ" in status.read_text() or NotYet("running")

        wait_until("the end of kind", ended, timeout=10)

    def test_kubeconfig_of_its_own(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KUBECONFIG", "/somebody/elses")
        it = cluster(place, '[ "$1" = get ]')
        failed(it)
        created = (place / "bin/kind.calls").read_text().splitlines()[-1]
        assert f"--kubeconfig={place}/state/kubeconfig" in created
        assert "--image=node:1" in created
        it.kubectl("get", "pods")
        assert (place / "bin/kubectl.calls").read_text() == f"--kubeconfig {place}/state/kubeconfig get pods\n"

    def test_failure_shows_what_kind_said(self, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
        (place / "state/kind.log").write_text("of a run before\n")
        it = cluster(place, '[ "$1" = get ] && exit; echo creating; echo ERROR: no space left >&2; exit 1')
        assert failed(it) == ("kind could not create the cluster jh-1.\n  | creating\n  | ERROR: no space left")
        assert capfd.readouterr() == ("", ""), "kind prints into its log alone"

    def test_a_taken_port_is_seen_before_kind_starts(self, place: Path) -> None:
        it = cluster(place)
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            assert f"Port {port} on 127.0.0.1 is taken" in failed(it, authoring_port=port)
        assert not (place / "bin/kind.calls").exists()


class TestAnswers:
    def test_no_kubeconfig(self, place: Path) -> None:
        it = cluster(place)
        Program(place / "bin", "kubectl", "echo True True")
        assert it.answers() is False

    @pytest.mark.parametrize(
        ("kubectl", "answers"),
        [
            ("echo True True", True),
            ("echo True", False),
            ("echo True Unknown", False),
            ("echo The connection to the server was refused >&2; exit 1", False),
        ],
    )
    def test_both_nodes_are_ready(self, place: Path, kubectl: str, answers: bool) -> None:
        it = cluster(place)
        it.kubeconfig.touch()
        fake = Program(place / "bin", "kubectl", kubectl)
        assert it.answers() is answers
        [call] = fake.calls
        assert "--request-timeout=5s" in call

    def test_the_cluster_made_anew_is_the_one_talked_to(self, place: Path) -> None:
        it = cluster(
            place,
            f"""[ "$1" = get ] || printf '{KUBECONFIG.format(server="http://127.0.0.1:99")}' > "$here/new"
            [ "$1" = get ] || PATH=/usr/bin:/bin cp "$here/new" "$here/../state/kubeconfig"; [ "$1" = get ]""",
        )
        it.kubeconfig.write_text(KUBECONFIG.format(server="http://127.0.0.1:9"))
        assert it.api.configuration.host == "http://127.0.0.1:9"
        failed(it)
        assert it.api.configuration.host == "http://127.0.0.1:99"


class Api:
    """A Kubernetes API with a list of pods, and a watch on them that says what it is told to."""

    def __init__(self) -> None:
        self.watch: list[dict[str, Any]] = []
        self.status = 200
        self.asked: list[dict[str, list[str]]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                api.asked.append(query)
                listed = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []}
                self.send_response(api.status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                for line in api.watch if "watch" in query else [listed]:
                    self.wfile.write(json.dumps(line).encode() + b"\n")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        configuration = client.Configuration(host=f"http://127.0.0.1:{self._server.server_port}")
        self.pods = PodWatch(client.CoreV1Api(client.ApiClient(configuration)), "jupyter")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    yield api
    api.close()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_server_pod(place: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    pods = [client.V1Pod(metadata=client.V1ObjectMeta(name=f"jupyter-{number}")) for number in range(count)]
    asked: list[str] = []

    def look(_: PodWatch, selector: str) -> list[client.V1Pod]:
        asked.append(selector)
        return pods

    monkeypatch.setattr(PodWatch, "look", look)
    it = cluster(place)
    vars(it)["api"] = client.ApiClient()
    if count == 1:
        assert it.server_pod("jupyter", "7c1e") is pods[0]
    else:
        with pytest.raises(HarnessError, match="expected one pod of user 7c1e, found"):
            it.server_pod("jupyter", "7c1e")
    assert asked == ["hub.jupyter.org/username=7c1e"]


def node(name: str, ready: str) -> client.V1Node:
    conditions = [
        client.V1NodeCondition(type="MemoryPressure", status="Unknown", message="no word"),
        client.V1NodeCondition(type="Ready", status=ready, message=f"the kubelet is {ready}"),
    ]
    return client.V1Node(metadata=client.V1ObjectMeta(name=name), status=client.V1NodeStatus(conditions=conditions))


class TestServerThatComesUp:
    @pytest.mark.parametrize(
        ("looks", "said"),
        [
            (["", "", "new"], None),
            (["new", "new", "new"], None),
            (["old, ending", "", "new"], None),
            (["new", ""], None),
            (["new", "", "new", ""], None),
            (["new", "", ""], "pod new is gone, and was not the hub's to stop: deleted, evicted, or its node went"),
            (["", "new", "new, ending", "", ""], "pod new is gone"),
        ],
    )
    def test_why_it_is_stuck(self, monkeypatch: pytest.MonkeyPatch, looks: list[str], said: str | None) -> None:
        seen = iter(looks)

        def look(pods: PodWatch, selector: str) -> list[client.V1Pod]:
            assert selector == "hub.jupyter.org/username=7c1e"
            name, *ending = next(seen).split(", ")
            about = client.V1ObjectMeta(name=name, deletion_timestamp=datetime.now(UTC) if ending else None)
            return [client.V1Pod(metadata=about, status=client.V1PodStatus())] if name else []

        monkeypatch.setattr(PodWatch, "look", look)
        clock = itertools.count(step=MADE_ANEW_WITHIN + 1)
        monkeypatch.setattr("harness.cluster.pods.time", SimpleNamespace(monotonic=lambda: next(clock)))
        core: Any = None
        why = PodWatch(core, "jupyter").why_stuck_server("7c1e")
        told = [why() for _ in looks]
        assert not any(told[:-1]), f"said too soon: {told}"
        assert (told[-1] or "").startswith(said or ""), f"said in the end: {told[-1]}"
        assert bool(told[-1]) == bool(said), f"said in the end: {told[-1]}"


class TestPodWatch:
    def test_watches_from_what_was_seen(self, api: Api) -> None:
        assert api.pods.look("component=hub") == []
        api.watch = [{"type": "MODIFIED", "object": {"kind": "Pod", "metadata": {"name": "hub"}}}] * 2
        api.pods.change(30)
        listed, watched = api.asked
        assert listed["labelSelector"] == ["component=hub"]
        assert watched["resourceVersion"] == ["7"]

    @pytest.mark.parametrize(("seconds", "asked"), [(0.3, "1"), (1.5, "1"), (600, "2")])
    def test_never_for_long(self, api: Api, seconds: float, asked: str) -> None:
        api.pods.look()
        api.watch = [{"type": "ADDED", "object": {"kind": "Pod", "metadata": {"name": "hub"}}}]
        api.pods.change(seconds)
        assert api.asked[-1]["timeoutSeconds"] == [asked]

    def test_a_version_that_is_too_old(self, api: Api) -> None:
        api.pods.look()
        api.watch = [
            {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}}
        ]
        api.pods.change(1)
        assert "watch" in api.asked[1]

    @pytest.mark.parametrize(
        ("reason", "count", "message", "phase", "age", "said"),
        [
            ("FailedMount", 5, 'secret "keys" not found', "Pending", 20, "pod hub-1 waits for what is not there"),
            ("FailedMount", 1, 'secret "keys" not found', "Pending", 20, ""),
            ("FailedMount", 5, "failed to sync secret cache: timed out", "Pending", 20, ""),
            ("FailedMount", 5, 'secret "keys" not found', "Running", 20, ""),
            ("FailedMount", 5, 'secret "keys" not found', "Pending", 1, ""),
            ("FailedCreatePodSandBox", 1, "OOM-killed", "Pending", 20, "pod hub-1 has too little memory to begin"),
            ("FailedCreatePodSandBox", 1, "no network yet", "Pending", 20, ""),
        ],
        ids=["in vain", "at first", "busy", "begun", "new", "no memory", "no network"],
    )
    def test_why_a_pod_has_not_begun(
        self, reason: str, count: int, message: str, phase: str, age: int, said: str
    ) -> None:
        about = client.V1ObjectReference(kind="Pod", name="hub-1", uid="1")
        event = client.CoreV1Event(
            involved_object=about, metadata=client.V1ObjectMeta(), count=count, message=message, reason=reason
        )
        core: Any = SimpleNamespace(
            list_namespaced_event=lambda namespace, **_: client.CoreV1EventList(items=[event]),
            list_node=lambda **_: client.V1NodeList(items=[]),
        )
        made = datetime.now(UTC) - timedelta(seconds=age)
        pod = client.V1Pod(
            metadata=client.V1ObjectMeta(name="hub-1", uid="1", creation_timestamp=made),
            spec=client.V1PodSpec(containers=[]),
            status=client.V1PodStatus(phase=phase),
        )
        assert PodWatch(core, "jupyter").why_stuck([pod]) == (f"{said}, {reason}: {message}" if said else None)

    @pytest.mark.parametrize("ready", ["True", "False", "Unknown"])
    @pytest.mark.parametrize("on", ["worker", "other", None])
    def test_a_pod_whose_node_is_lost(self, ready: str, on: str | None) -> None:
        core: Any = SimpleNamespace(
            list_namespaced_event=lambda namespace, **_: client.CoreV1EventList(items=[]),
            list_node=lambda **_: client.V1NodeList(items=[node("worker", ready)]),
        )
        made = datetime.now(UTC) - timedelta(seconds=20)
        pod = client.V1Pod(
            metadata=client.V1ObjectMeta(name="jupyter-7c1e", uid="1", creation_timestamp=made),
            spec=client.V1PodSpec(containers=[], node_name=on),
            status=client.V1PodStatus(phase="Pending"),
        )
        said = f"pod jupyter-7c1e waits for node worker, which is lost: the kubelet is {ready}"
        lost = (ready, on) == ("Unknown", "worker")
        assert PodWatch(core, "jupyter").why_stuck([pod]) == (said if lost else None)

    def test_a_refusal_is_not_swallowed(self, api: Api) -> None:
        api.status = 403
        with pytest.raises(client.ApiException, match="403"):
            api.pods.change(1)


class TestBounded:
    """Every call of the API has a limit, and names itself when it hits it."""

    @pytest.fixture
    def silent(self, place: Path) -> Iterator[Cluster]:
        """A cluster whose API server takes a connection and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            it = cluster(place)
            it.kubeconfig.write_text(KUBECONFIG.format(server=f"http://127.0.0.1:{server.getsockname()[1]}"))
            yield it

    def test_by_default(self, silent: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.cluster.client.API_TIMEOUT", 0.2)
        said = r"\AGET /api/v1/nodes/worker: no answer of the API server within 0\.2 s: "
        with pytest.raises(NoAnswerError, match=said):
            silent.core.read_node("worker")

    def test_as_the_caller_says(self, silent: Cluster) -> None:
        with pytest.raises(NoAnswerError, match=r" within 0\.1 s: "):
            silent.apps.list_namespaced_deployment("jupyter", _request_timeout=0.1)

    def test_logs_of_a_silent_one_are_empty(self, silent: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.cluster.client.API_TIMEOUT", 0.2)
        assert silent.logs("jupyter", "hub") == ""

    def test_kind(self, place: Path) -> None:
        it = cluster(place, '[ "$1" = get ] || exit 124')
        assert failed(it).startswith("kind could not create the cluster jh-1 within 300 s.")


def test_execute(place: Path) -> None:
    """What a command in a pod says, though it fails."""
    it = cluster(place)
    fake = Program(place / "bin", "kubectl", "echo said")
    assert it.execute("jupyter", "hub-1", "sh", "-c", "ls", container="hub") == "said\n"
    [call] = fake.calls
    assert call.endswith('exec --namespace jupyter hub-1 --container hub -- sh -c "$@" || : sh sh -c ls')


def test_lost_nodes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = client.V1NodeList(items=[node("control-plane", "True"), node("worker", "Unknown")])
    monkeypatch.setattr(client.CoreV1Api, "list_node", lambda core, **_: nodes)
    it = cluster(place)
    vars(it)["api"] = client.ApiClient()
    assert it.lost(5) == {"worker": "the kubelet is Unknown"}


def test_where_nobody_says_so_no_node_is_lost(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(core: client.CoreV1Api, **_: object) -> None:
        raise NoAnswerError("no answer")

    monkeypatch.setattr(client.CoreV1Api, "list_node", silent)
    it = cluster(place)
    vars(it)["api"] = client.ApiClient()
    assert it.lost(5) == {}
