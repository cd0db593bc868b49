"""The kind cluster: its configuration, how kind is called, and its nodes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTClientObject
from pytest_kind import KindCluster
from urllib3.exceptions import ProtocolError

from harness.base.errors import HarnessError
from harness.base.wait import NotYet, wait_until
from harness.cluster.client import NoAnswerError
from harness.cluster.kind import Cluster, check_port
from harness.cluster.pods import PodWatch
from tests.unit.cluster.builders import IMAGE, KUBECONFIG, cluster, container, node, pod, state
from tests.unit.fakes import Program

ROOT = Path(__file__).parents[3]


def create(it: Cluster, hub_port: int = 0, authoring_port: int = 0) -> None:
    it.create(ROOT / "kind-config.yaml", hub_port=hub_port, authoring_port=authoring_port)


def failed(it: Cluster, **ports: int) -> str:
    with pytest.raises(HarnessError) as error:
        create(it, **ports)
    return str(error.value)


def reachable(place: Path) -> Cluster:
    """A cluster with a kubeconfig, at whose address nothing answers."""
    it = cluster(place)
    it.kubeconfig.write_text(KUBECONFIG.format(server="http://127.0.0.1:9"))
    return it


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

    def test_core_dns_is_ready_as_soon_as_it_can_be(self, made: tuple[Cluster, Program], place: Path) -> None:
        patched = next(call for call in (place / "bin/kubectl.calls").read_text().splitlines() if " patch " in call)
        assert "deployment coredns --namespace=kube-system" in patched
        assert '"name": "coredns", "readinessProbe": {"periodSeconds": 1}' in patched
        assert '{"name": "KUBERNETES_SERVICE_HOST", "value": "jh-1-control-plane"}' in patched, "without kube-proxy"

    def done_in(self, name: str, docker: Program) -> str:
        [call] = [call for call in docker.calls if call.startswith(f"exec {name} ")]
        return call


def name_server(*, ready: bool, since: datetime) -> client.V1Pod:
    running = client.V1ContainerState(running=client.V1ContainerStateRunning(started_at=since))
    status = client.V1ContainerStatus(
        name="coredns", image="coredns", image_id="", ready=ready, restart_count=1, state=running
    )
    conditions = [client.V1PodCondition(type="Ready", status=str(ready))]
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name="coredns"),
        spec=client.V1PodSpec(containers=[], node_name="jh-1-worker"),
        status=client.V1PodStatus(conditions=conditions, container_statuses=[status]),
    )


class TestResume:
    """Nodes that were stopped, such as by a restart of Docker."""

    @pytest.fixture
    def done(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The calls, in their order, of a resume. The API server still takes both nodes for ready when it is back."""
        it = cluster(place)
        calls = place / "calls"
        network = json.dumps([{"NetworkSettings": {"Networks": {"jh-1": {"IPAddress": "9.9.9.9"}}}}])
        script = f"""echo docker "$@" >> '{calls}'
            case "$*" in
              *StartedAt*) echo 2026-01-01T10:00:00.123456789Z ;;
              inspect*) echo '{network}' ;;
              # At first there is no such chain on the second node.
              *worker*KUBE-SERVICES)
                [ -e "{place}/looked" ] || {{ touch "{place}/looked"; exit 1; }}
                echo "-A KUBE-SERVICES -m comment --comment 'default/kubernetes:https cluster IP'" ;;
              *KUBE-SERVICES) echo "-A KUBE-SERVICES -m comment --comment 'default/kubernetes:https cluster IP'" ;;
            esac"""
        Program(place / "bin", "docker", script)
        # The API server is ready a moment before it knows that this client may delete leases.
        script = f"""case "$*" in
              *leases*) echo "$@" >> '{calls}'
                [ -e "{place}/asked" ] || {{ touch "{place}/asked"; echo No; exit 1; }} ;;
              *) echo "$@" >> '{calls}' ;;
            esac"""
        Program(place / "bin", "kubectl", script)
        refusals = [ProtocolError("Connection refused"), ApiException(403, "Forbidden")]

        def request(_: object, method: str, url: str, **__: object) -> None:
            with calls.open("a") as file:
                file.write(f"{method} {url}\n")
            if refusals:
                raise refusals.pop(0)

        monkeypatch.setattr(RESTClientObject, "request", request)
        started = datetime(2026, 1, 1, 10, tzinfo=UTC)
        old, new = (started + timedelta(hours=hours) for hours in (-1, 1))
        looks = [(old, old), (old, new), (new, new)]

        def nodes(core: client.CoreV1Api) -> client.V1NodeList:
            with calls.open("a") as file:
                file.write("look at the nodes\n")
            heard = zip(it.nodes, looks.pop(0), strict=True)
            return client.V1NodeList(items=[node(name, "True", when) for name, when in heard])

        def add_gpus(core: client.CoreV1Api, name: str, patch: object) -> None:
            with calls.open("a") as file:
                file.write(f"patch {name}\n")

        monkeypatch.setattr(
            client.CoreV1Api, "read_node", lambda *_: client.V1Node(spec=client.V1NodeSpec(pod_cidr="10.244.0.0/24"))
        )
        servers = [[], [name_server(ready=True, since=old)], [name_server(ready=False, since=new)]]
        servers.append([name_server(ready=True, since=new)])

        def look(*_: object) -> list[client.V1Pod]:
            with calls.open("a") as file:
                file.write("look at the name servers\n")
            return servers.pop(0)

        monkeypatch.setattr(PodWatch, "look", look)
        monkeypatch.setattr(client.CoreV1Api, "list_node", nodes)
        monkeypatch.setattr(client.CoreV1Api, "patch_node_status", add_gpus)
        monkeypatch.setattr(Cluster, "api", client.ApiClient())

        def before_pods() -> None:
            with calls.open("a") as file:
                file.write("before pods\n")

        it.resume(before_pods)
        return [line for line in calls.read_text().splitlines() if not line.startswith(("docker inspect", "docker ps"))]

    def test_pods_are_made_anew_and_no_one_waits_for_old_leases(self, done: list[str]) -> None:
        deletions = [line.partition(" delete ")[2] for line in done if " delete " in line]
        everywhere = "--all-namespaces --field-selector=metadata.namespace!="
        assert deletions == [
            *[f"leases {everywhere}kube-node-lease --wait=false"] * 2,
            f"pods {everywhere}kube-system --wait=false --grace-period=0 --force",
        ]
        assert done[0] == "docker start jh-1-control-plane jh-1-worker"

    def test_no_pod_starts_before_names_are_served_and_can_be_reached(self, done: list[str]) -> None:
        """A hub that does finds no database, and ends; the API server still takes the old name servers for ready."""
        closed, opened = (number for number, line in enumerate(done) if " taint nodes --all " in line)
        meanwhile = done[closed + 1 : opened]
        assert meanwhile[0] == "before pods"
        assert " delete pods " in meanwhile[1]
        assert meanwhile.count("look at the name servers") == 4, "until those that are new are ready"
        assert len([line for line in meanwhile if line.endswith("KUBE-SERVICES")]) == 4, (
            "of both nodes, until both lead"
        )
        assert done[opened].endswith("resuming:NoSchedule-")

    def test_an_api_server_that_refuses_everybody_is_waited_for(self, done: list[str]) -> None:
        asked = [line for line in done if "/readyz" in line or " delete " in line][:6]
        assert ["/readyz" in line for line in asked] == [True, True, True, False, True, False]

    def test_what_the_nodes_were_counts_for_nothing(self, done: list[str]) -> None:
        assert done[-4:] == [*["look at the nodes"] * 3, "patch jh-1-worker"]


class TestConfiguration:
    @pytest.mark.parametrize(("given", "published"), [((0, 0), (-1, -1)), ((0, 8001), (-1, 8001))])
    def test_ports_are_on_loopback(self, place: Path, given: tuple[int, int], published: tuple[int, int]) -> None:
        failed(cluster(place), hub_port=given[0], authoring_port=given[1])
        control_plane, worker = configuration(place)["nodes"]
        assert control_plane["extraPortMappings"] == [
            {"containerPort": 30000, "hostPort": published[0], "listenAddress": "127.0.0.1"},
            {"containerPort": 30001, "hostPort": published[1], "listenAddress": "127.0.0.1"},
            *({"containerPort": port, "hostPort": -1, "listenAddress": "127.0.0.1"} for port in (30002, 30080, 30443)),
        ]
        assert "extraPortMappings" not in worker
        assert "networking" not in configuration(place), "kind's own default for the API server is the loopback"

    def test_nodes_see_the_registries_and_nobody_else_does(self, place: Path) -> None:
        """The directory holds the credentials of the private registry."""
        failed(cluster(place))
        certs = place / "state/certs.d"
        mount = {"hostPath": str(certs), "containerPath": "/etc/containerd/certs.d"}
        assert [node["extraMounts"][0] for node in configuration(place)["nodes"]] == [mount, mount]
        assert certs.stat().st_mode & 0o777 == 0o700

    def test_the_gates_node_sees_its_files(self, place: Path) -> None:
        """All of Apache's processes read them, which are not all of them root's."""
        failed(cluster(place))
        mount = {"hostPath": str(place / "state/gate"), "containerPath": "/etc/gate", "readOnly": True}
        control_plane, worker = configuration(place)["nodes"]
        assert mount in control_plane["extraMounts"]
        assert mount not in worker["extraMounts"]
        assert (place / "state/gate").stat().st_mode & 0o777 == 0o755

    def test_the_worker_plays_the_gpu_node(self, place: Path) -> None:
        failed(cluster(place))
        control_plane, worker = configuration(place)["nodes"]
        assert worker["labels"] == {"ol.mit.edu/gpu_node": "true"}
        [joining] = map(yaml.safe_load, worker["kubeadmConfigPatches"])
        assert joining["nodeRegistration"]["taints"] == [
            {"key": "ol.mit.edu/gpu_node", "value": "true", "effect": "NoSchedule"}
        ]
        starting, _ = map(yaml.safe_load, control_plane["kubeadmConfigPatches"])
        assert starting["nodeRegistration"]["taints"] == []

    @pytest.mark.parametrize(
        ("pod", "options"),
        [
            ("kube-apiserver", []),
            ("etcd", ["--unsafe-no-fsync"]),
            ("kube-controller-manager", ["--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400"]),
            ("kube-scheduler", ["--leader-elect=false"]),
        ],
    )
    def test_the_control_plane_waits_for_less(self, place: Path, pod: str, options: list[str]) -> None:
        failed(cluster(place))
        control_plane, worker = configuration(place)["nodes"]
        _, patched = map(yaml.safe_load, control_plane["kubeadmConfigPatches"])
        [mounted] = [each for each in control_plane["extraMounts"] if each["containerPath"] == "/kind/patches"]
        assert patched == {"kind": "InitConfiguration", "patches": {"directory": "/kind/patches"}}
        patches = Path(mounted["hostPath"])
        merged = yaml.safe_load((patches / f"{pod}+strategic.yaml").read_text())
        container = {"name": pod, "env": [{"name": "GOGC", "value": "400"}]}
        assert merged == {"spec": {"containers": [container]}}
        changes = yaml.safe_load((patches / f"{pod}+json.yaml").read_text())
        assert changes == [{"op": "add", "path": "/spec/containers/0/command/-", "value": each} for each in options]
        assert len(worker["extraMounts"]) == 1, "it has no control plane"

    def test_each_node_starts_with_what_is_unpacked(self, place: Path) -> None:
        volumes = Program(
            place / "bin", "docker", '[ "$1 $2" != "volume inspect" ] || for name; do :; done; echo "/all/$name/_data"'
        )
        failed(cluster(place, store="prepared"))
        for made, name in zip(configuration(place)["nodes"], ("control-plane", "worker"), strict=True):
            mount = {"hostPath": f"/all/jh-1-{name}/_data", "containerPath": "/var/lib/containerd"}
            assert mount in made["extraMounts"]
        assert any(
            call.endswith("node:1 /volumes/prepared/_data /volumes/jh-1-control-plane/_data /volumes/jh-1-worker/_data")
            for call in volumes.calls
        )


class TestKind:
    @pytest.mark.parametrize(("given", "used"), [("", "jh-1"), ("shared", "shared")])
    def test_network_of_its_own(self, place: Path, given: str, used: str) -> None:
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

    def test_runs_though_a_program_that_started_meanwhile_holds_its_files(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A thread may start one while a file is being written, and what is open for writing cannot be run."""
        it = cluster(place, "exit 1")
        write, started = Path.write_text, list[subprocess.Popen[bytes]]()

        def write_text(path: Path, text: str) -> None:
            write(path, text)
            with path.open("a") as file:
                started.append(subprocess.Popen(["sleep", "60"], pass_fds=[file.fileno()]))

        monkeypatch.setattr(Path, "write_text", write_text)
        try:
            assert "kind could not create the cluster" in failed(it)
        finally:
            for program in started:
                program.kill()
                program.wait()

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

    def test_a_create_that_takes_too_long(self, place: Path) -> None:
        it = cluster(place, '[ "$1" = get ] || exit 124')
        assert failed(it).startswith("kind could not create the cluster jh-1 within 300 s.")

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


@pytest.mark.parametrize("count", [0, 1, 2])
def test_server_pod(place: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    pods = [client.V1Pod(metadata=client.V1ObjectMeta(name=f"jupyter-{number}")) for number in range(count)]
    asked: list[str] = []

    def look(_: PodWatch, selector: str) -> list[client.V1Pod]:
        asked.append(selector)
        return pods

    monkeypatch.setattr(PodWatch, "look", look)
    it = reachable(place)
    if count == 1:
        assert it.server_pod("jupyter", "7c1e") is pods[0]
    else:
        with pytest.raises(HarnessError, match="expected one pod of user 7c1e, found"):
            it.server_pod("jupyter", "7c1e")
    assert asked == ["hub.jupyter.org/username=7c1e"]


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
    it = reachable(place)
    assert it.lost(5) == {"worker": "the kubelet is Unknown"}


class TestEndedPods:
    HOW = f"container gate ended with exit code 137, image {IMAGE}"

    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch) -> list[client.V1Pod]:
        """A pod of the gate's, look after look."""
        looks = [pod(), pod(container(state(ended="Error"), name="gate"))]
        looks[0].status.phase, looks[1].status.phase = "Running", "Failed"

        def look(core: client.CoreV1Api, namespace: str, **_: object) -> client.V1PodList:
            return client.V1PodList(items=[looks.pop(0) if len(looks) > 1 else looks[0]])

        monkeypatch.setattr(client.CoreV1Api, "list_namespaced_pod", look)
        return looks

    def test_one_that_runs_is_none(self, place: Path, looks: list[client.V1Pod]) -> None:
        assert reachable(place).ended_pods("gate", 5) == {}

    def test_how_it_ended(self, place: Path, looks: list[client.V1Pod]) -> None:
        del looks[0]
        assert reachable(place).ended_pods("gate", 5) == {"jupyter-1": self.HOW}

    def test_an_end_that_is_reported_later(self, place: Path, looks: list[client.V1Pod]) -> None:
        it = reachable(place)
        Program(place / "bin", "kubectl", "exit 1")
        assert it.ended_pods("gate", 5) == {"jupyter-1": self.HOW}

    def test_one_that_only_seems_to_have_ended(self, place: Path, looks: list[client.V1Pod]) -> None:
        it = reachable(place)
        Program(place / "bin", "kubectl", "exit 1")
        del looks[1]
        assert it.ended_pods("gate", 0) == {}

    def test_where_no_one_says_so(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def silent(core: client.CoreV1Api, namespace: str, **_: object) -> None:
            raise NoAnswerError("no answer")

        monkeypatch.setattr(client.CoreV1Api, "list_namespaced_pod", silent)
        assert reachable(place).ended_pods("gate", 5) == {}


@pytest.mark.parametrize("do", ["server_pod", "remove_server"])
def test_a_user_without_a_name_is_never_looked_up(place: Path, do: str) -> None:
    """The selector of an empty name would find the pods of every user, or of none."""
    with pytest.raises(HarnessError, match=r"\ANo user to look up a server of: the journey named none\."):
        getattr(reachable(place), do)("jupyter", "")
    assert not (place / "bin/kubectl.calls").exists()


def test_where_nobody_says_so_no_node_is_lost(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(core: client.CoreV1Api, **_: object) -> None:
        raise NoAnswerError("no answer")

    monkeypatch.setattr(client.CoreV1Api, "list_node", silent)
    it = reachable(place)
    assert it.lost(5) == {}
