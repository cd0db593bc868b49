"""The kind cluster: a control plane that takes pods, and a worker that plays the GPU node."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from pytest_kind import KindCluster
from urllib3.exceptions import HTTPError

from harness.base.errors import HarnessError
from harness.base.shell import CommandError, run, tail
from harness.base.wait import NotYet, seldom, wait_until
from harness.host import docker

GPUS = 32
"""GPUs that the worker pretends to have: enough for every course that asks for one to run at once on one node."""
STUDENT_NODE_PORT = 30000
AUTHORING_NODE_PORT = 30001
"""The proxies' NodePorts inside the cluster, as production sets them; each is published on a loopback port."""
SCALED_NODE_PORT = 30002
"""The same for a hub that a test brings up beside them."""

SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/16"
"""Addresses of Services and of pods: kind's defaults (pkg/apis/config/defaults.go)."""
LEAVING = ("FORWARD", "OUTPUT")
"""Chains of iptables' filter that a packet passes after its Service's address became a pod's."""

CREATE_SECONDS = 300
TIMED_OUT = 124
"""Exit code of timeout(1) for a program that it ended."""

HOPELESS = {
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
"""Reasons for which a container waits that time alone does not mend (kubelet, pkg/kubelet/images and kuberuntime)."""
MOUNTS_TRIED = 5
"""Times that the kubelet looks in vain for what a pod mounts, over a quarter of a minute, before it is said to lack."""
MADE_ANEW_WITHIN = 5.0
"""Seconds in which kubespawner makes a pod anew that it takes for an old one (_make_create_pod_request, at a 409)."""
BEGINS_WITHIN = timedelta(seconds=5)
"""In which a pod's first container usually begins. Only later are events read: the API server reads all of them."""


API_TIMEOUT = 30.0
"""Seconds for one call of the API server, where the caller gives no others."""


class NoAnswerError(HarnessError, HTTPError):
    """The API server did not answer a call; the message names it."""


class _Bounded(client.ApiClient):  # type: ignore[misc]  # kubernetes has no types
    """Kubernetes' client, whose calls have no limit of their own and, where one is given, do not say whose it was."""

    def call_api(self, method: str, url: str, *args: Any, _request_timeout: float | None = None, **kwargs: Any) -> Any:
        limit = _request_timeout or API_TIMEOUT
        try:
            return super().call_api(method, url, *args, _request_timeout=limit, **kwargs)
        except HTTPError as error:
            path = url.removeprefix(self.configuration.host).partition("?")[0]
            raise NoAnswerError(f"{method} {path}: no answer of the API server within {limit:g} s: {error}") from error


class Cluster:
    """One kind cluster, reached by its own kubeconfig and by nothing else."""

    def __init__(
        self, name: str, state: Path, *, kind: Path, kubectl: Path, image: str, network: str | None = None
    ) -> None:
        self.name = name
        self.network = network or name
        self.state = state
        self.kubeconfig = state / "kubeconfig"
        self.certs = state / "certs.d"
        self.log = state / "kind.log"
        self._image = image
        self._kind = kind
        self._kubectl = kubectl

    @property
    def control_plane(self) -> str:
        return f"{self.name}-control-plane"

    @property
    def nodes(self) -> tuple[str, str]:
        """Names of the node containers: the control plane, and the worker that plays the GPU node."""
        return self.control_plane, f"{self.name}-worker"

    def create(self, template: Path, *, hub_port: int, authoring_port: int) -> None:
        """Create the cluster and see its nodes ready.

        Args:
            template: kind-config.yaml.
            hub_port, authoring_port: loopback ports of the two hubs; 0 for any free one.

        Raises:
            HarnessError: a port is taken, or kind failed (its last lines are shown).
        """
        for port in filter(None, (hub_port, authoring_port)):
            check_port(port)
        self.state.mkdir(parents=True, exist_ok=True)
        self.kubeconfig.unlink(missing_ok=True)
        self.__dict__.pop("api", None)  # it may know the cluster that was here before
        self.log.unlink(missing_ok=True)
        config_file = self.state / "kind-config.yaml"
        config_file.write_text(self._configuration(template, hub_port, authoring_port))
        try:
            self._kind_cluster().create(config_file)
        except subprocess.CalledProcessError as error:
            output = self.log.read_text(errors="replace") if self.log.exists() else ""
            late = f" within {CREATE_SECONDS} s" if error.returncode == TIMED_OUT else ""
            raise HarnessError(f"kind could not create the cluster {self.name}{late}.{tail(output)}") from error
        self._connect_nodes()
        self._add_gpus()
        self._wait_for_nodes()

    def _configuration(self, template: Path, hub_port: int, authoring_port: int) -> str:
        configuration: dict[str, Any] = yaml.safe_load(template.read_text())
        self.certs.mkdir(mode=0o700, parents=True, exist_ok=True)
        for node in configuration["nodes"]:
            node["extraMounts"] = [{"hostPath": str(self.certs), "containerPath": "/etc/containerd/certs.d"}]
        configuration["nodes"][0]["extraPortMappings"] = [
            # -1 leaves the choice to Docker, which cannot lose a race for the port.
            {"containerPort": inner, "hostPort": outer or -1, "listenAddress": "127.0.0.1"}
            for inner, outer in (
                (STUDENT_NODE_PORT, hub_port),
                (AUTHORING_NODE_PORT, authoring_port),
                (SCALED_NODE_PORT, 0),
            )
        ]
        return yaml.safe_dump(configuration, sort_keys=False)

    def _kind_cluster(self) -> KindCluster:
        """pytest-kind's cluster, its kind a script that is bounded, keeps its output, and uses the run's own network.

        KindCluster calls kind without a time limit and lets it print where it likes.
        """
        script = self.state / "kind"
        kind, log = shlex.quote(str(self._kind)), shlex.quote(str(self.log))
        script.write_text(
            "#!/bin/sh\n"
            f"export KIND_EXPERIMENTAL_DOCKER_NETWORK={shlex.quote(self.network)}\n"
            f'case "$1" in get) exec timeout 30 {kind} "$@" 2>>{log} ;; esac\n'
            # The nodes of a cluster that does not come up have logs, which kind would remove with them.
            '[ "$1" != create ] || set -- "$@" --retain\n'
            # KindCluster kills this script on Ctrl-C; kind must not outlive it and go on making nodes.
            f"exec timeout --foreground {CREATE_SECONDS} "
            f'setpriv --pdeathsig KILL {kind} "$@" >>{log} 2>&1\n'
        )
        script.chmod(0o755)
        return _Quiet(self.name, self.state, self.kubeconfig, self._image, script, self._kubectl)

    def _connect_nodes(self) -> None:
        """Give each node a route to the other's pods, and let what is meant for the cluster never leave it.

        The built node image's network reaches its own node only; kindest/node's sets the same routes by itself.
        Until kube-proxy knows a new Service, or that a pod is gone, that address is nobody's: a packet would go out to
        the machine's own network, and whoever answers there would be the hub for as long as a client keeps that
        connection.
        """
        ranges = {
            node: wait_until(f"the pod range of {node}", functools.partial(self._pod_range, node), timeout=60)
            for node in self.nodes
        }
        for node in ranges:
            routes = [
                f"ip route replace {pods} via {docker.address(other, self.network)}"
                for other, pods in ranges.items()
                if other != node
            ]
            reject = [f"iptables --append {chain} --destination {SERVICES} --jump REJECT" for chain in LEAVING]
            nobodys = f"ip route replace unreachable {PODS}"
            docker.docker("exec", node, "sh", "-c", " && ".join([*routes, nobodys, *reject]))

    def _pod_range(self, node: str) -> str | NotYet:
        try:
            found: str | None = self.core.read_node(node).spec.pod_cidr
        except ApiException as error:
            if error.status != 404:
                raise
            # kind is done with a worker when its kubelet runs, which is a moment before the API server knows the node.
            return NotYet("the API server does not know the node")
        return found or NotYet("none yet")

    def _add_gpus(self) -> None:
        """Make the worker a node with GPUs: a capacity without a device, as the kubelet lets an operator set it."""
        patch = [{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": str(GPUS)}]
        self.core.patch_node_status(self.nodes[1], patch)

    def _wait_for_nodes(self) -> None:
        def ready() -> bool | NotYet:
            waiting = [
                f"{node.metadata.name}: {condition.message}"
                for node in self.core.list_node().items
                for condition in node.status.conditions or []
                if condition.type == "Ready" and condition.status != "True"
            ]
            return NotYet("; ".join(waiting)) if waiting else True

        gone = seldom(lambda: docker.stopped(self.name, self.nodes))
        wait_until("both nodes of the cluster", ready, timeout=120, fail_if=gone)

    @functools.cached_property
    def api(self) -> client.ApiClient:
        configuration = client.Configuration()
        # What does not answer in time is not asked again behind the caller's back.
        configuration.retries = False
        config.load_kube_config(config_file=str(self.kubeconfig), client_configuration=configuration)
        return _Bounded(configuration)

    @property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    @property
    def apps(self) -> client.AppsV1Api:
        return client.AppsV1Api(self.api)

    def answers(self) -> bool:
        """Whether the API server answers and knows both nodes as ready."""
        if not self.kubeconfig.exists():
            return False
        ready = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
        try:
            # Where a kept cluster is used as it is, this spares the run the two seconds of loading the client.
            found = self.kubectl("get", "nodes", "--request-timeout=5s", f"--output=jsonpath={ready}")
        except CommandError:
            return False
        return found.split() == ["True"] * len(self.nodes)

    def why_silent(self, seconds: int) -> str:
        """Why the API server has no answer within some seconds, in a line; empty where it has one."""
        try:
            self.kubectl("get", "--raw=/livez", f"--request-timeout={seconds}s", timeout=seconds + 2)
        except CommandError as error:
            # A refusal is an answer.
            lines = [line for line in (error.output or str(error)).splitlines() if line.strip()]
            return "" if "Error from server" in error.output else lines[-1].strip()
        return ""

    def lost(self, seconds: int) -> dict[str, str]:
        """What Kubernetes says of each node that it does not hear of any more; nothing where it does not say so now."""
        try:
            return _lost(self.core.list_node(_request_timeout=seconds).items)
        except (ApiException, HTTPError):
            return {}

    def hub_url(self, node_port: int) -> str:
        """Loopback URL of the hub behind a NodePort."""
        return f"http://{docker.published(self.control_plane, node_port)}"

    def pods(self, namespace: str) -> PodWatch:
        """The pods of a namespace, to look at and to wait on."""
        return PodWatch(self.core, namespace)

    def deployment(self, namespace: str, name: str) -> dict[str, Any]:
        """A Deployment as Kubernetes writes it."""
        found: dict[str, Any] = json.loads(
            self.kubectl("--namespace", namespace, "get", "deployment", name, "--output=json")
        )
        return found

    def images(self, node: str) -> set[str]:
        """Names of the images on a node."""
        return set(docker.docker("exec", node, "ctr", "--namespace", "k8s.io", "images", "ls", "--quiet").split())

    def restart(self, namespace: str, deployment: str) -> None:
        """Begin to replace the pods of a Deployment."""
        self.kubectl("--namespace", namespace, "rollout", "restart", f"deployment/{deployment}")

    def server_pod(self, namespace: str, user: str) -> client.V1Pod:
        """The pod of a user's server.

        Raises:
            HarnessError: there is none, or more than one.
        """
        pods = self.pods(namespace).look(server_of(user))
        if len(pods) != 1:
            raise HarnessError(f"expected one pod of user {user}, found {[pod.metadata.name for pod in pods]}")
        return pods[0]

    def remove_server(self, namespace: str, user: str) -> None:
        """Begin to remove the pod of a user's server, past the hub."""
        self.kubectl("delete", "pod", "--namespace", namespace, "--selector", server_of(user), "--wait=false")

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str | None = None,
        *,
        previous: bool = False,
        seconds: float | None = None,
    ) -> str:
        """What a pod's container wrote, its last lines; empty where there is nothing yet or no more.

        Args:
            previous: of the container before its last restart.
            seconds: only what it wrote within so many seconds before now, and of that more lines.
        """
        return self.pods(namespace).logs(pod, container, previous=previous, seconds=seconds)

    def export_logs(self, into: Path, timeout: float) -> None:
        """Have kind write what the nodes themselves logged into a directory, a directory a node.

        Raises:
            CommandError: it failed, or was not done in time; what it wrote until then is there.
        """
        run([self._kind, "export", "logs", into, "--name", self.name], timeout=timeout, what="kind export logs")

    def execute(self, namespace: str, pod: str, *command: str, container: str | None = None) -> str:
        """Run a command in a pod and return its standard output, whatever its exit code, within 60 s.

        By kubectl: the client's own way has no limit until it is connected, and takes Ctrl-C for an error of the API.

        Raises:
            HarnessError: it cannot be run.
        """
        where = ("exec", "--namespace", namespace, pod, *(("--container", container) if container else ()))
        return self.kubectl(*where, "--", "sh", "-c", '"$@" || :', "sh", *command)

    def apply(self, namespace: str, *objects: dict[str, Any]) -> None:
        """Create the namespace and the objects in it, or bring them up to date."""
        wanted = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, *objects]
        self.kubectl("--namespace", namespace, "apply", "--filename", "-", stdin=yaml.safe_dump_all(wanted))

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl on this cluster, whatever the caller's KUBECONFIG says."""
        command: list[str | Path] = [self._kubectl, "--kubeconfig", self.kubeconfig, *args]
        return run(command, timeout=timeout, stdin=stdin, what=f"kubectl {' '.join(args[:4])}")


class _Quiet(KindCluster):  # type: ignore[misc]  # pytest-kind has no types
    """KindCluster that keeps its directory among the run's own files, not under the current directory."""

    def __init__(self, name: str, path: Path, kubeconfig: Path, image: str, kind: Path, kubectl: Path) -> None:
        self.name, self.path, self.kubeconfig_path, self.image = name, path, kubeconfig, image
        self.kind_path, self.kubectl_path = kind, kubectl


class PodWatch:
    """The pods of one namespace: a look at them, and a watch that returns when one changes."""

    def __init__(self, core: client.CoreV1Api, namespace: str) -> None:
        self._core = core
        self.namespace = namespace
        self._version = ""

    def look(self, selector: str = "") -> list[client.V1Pod]:
        """The pods that match a label selector, now."""
        found = self._core.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=30)
        self._version = found.metadata.resource_version
        return list(found.items)

    def change(self, seconds: float) -> None:
        """Return when a pod changed since the last look, after the seconds given, or after two, whichever is first."""
        limit = max(1, int(min(seconds, 2)))
        watching = watch.Watch()
        try:
            for _ in watching.stream(
                self._core.list_namespaced_pod,
                self.namespace,
                resource_version=self._version,
                timeout_seconds=limit,
                _request_timeout=limit + 3,
            ):
                break
        except NoAnswerError:
            raise
        except HTTPError as error:  # in the middle of the answer
            raise NoAnswerError(f"The watch on the pods of {self.namespace} broke off: {error}") from error
        except ApiException as error:
            if error.status != 410:  # 410: the version is too old to watch from; the next look gets a new one.
                raise
        finally:
            watching.stop()

    def events(self, pod: str) -> list[client.CoreV1Event]:
        """What Kubernetes says of a pod, oldest first."""
        found = self._core.list_namespaced_event(self.namespace, field_selector=f"involvedObject.name={pod}")
        return sorted(found.items, key=_when)

    def logs(
        self, pod: str, container: str | None = None, *, previous: bool = False, seconds: float | None = None
    ) -> str:
        """As Cluster.logs."""
        since = {} if seconds is None else {"since_seconds": max(1, math.ceil(seconds))}
        try:
            answer = self._core.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=container,
                previous=previous,
                tail_lines=500 if seconds is None else 5000,  # a class at once writes thousands
                _preload_content=False,
                **since,
            )
        except (ApiException, HTTPError):
            return ""
        return str(answer.data.decode(errors="replace"))

    def why_stuck(self, pods: Collection[client.V1Pod]) -> str | None:
        """Why pods will never be ready, by their status or by what is said of them."""

        def log(pod: str, container: str, before: bool) -> str:
            return self.logs(pod, container, previous=before)

        return why_stuck(pods, log) or self._why_not_begun(pods)

    def why_stuck_server(self, user: str) -> Callable[[], str | None]:
        """Of a server that is to come up from now on: says, look by look, why it will never do so."""
        was, missed = "", float("inf")

        def look() -> str | None:
            nonlocal was, missed
            found, now = self.look(server_of(user)), time.monotonic()
            missed = min(missed, now) if was and not found else float("inf")
            if now - missed > MADE_ANEW_WITHIN:
                return f"pod {was} is gone, and was not the hub's to stop: deleted, evicted, or its node went"
            was = next((pod.metadata.name for pod in found if not pod.metadata.deletion_timestamp), was)
            return self.why_stuck(found)

        return look

    def _why_not_begun(self, pods: Iterable[client.V1Pod]) -> str | None:
        """Why no container of a pod begins: its node is lost, what it is to mount is not there, or it has no memory.

        The kubelet has looked many times for what is said to be not there.
        """
        late = [
            pod
            for pod in pods
            if pod.status.phase == "Pending" and datetime.now(UTC) - pod.metadata.creation_timestamp > BEGINS_WITHIN
        ]
        if not late:
            return None
        lost = _lost(self._core.list_node(_request_timeout=30).items)
        for pod in late:
            if why := lost.get(pod.spec.node_name):
                return f"pod {pod.metadata.name} waits for node {pod.spec.node_name}, which is lost: {why}"
        waiting = {pod.metadata.uid: pod.metadata.name for pod in late}
        for event in self._warnings():
            name = waiting.get(event.involved_object.uid)
            in_vain = event.reason == "FailedMount" and (event.count or 1) >= MOUNTS_TRIED
            if name and in_vain and "not found" in (event.message or ""):
                return f"pod {name} waits for what is not there, FailedMount: {event.message}"
            if name and event.reason == "FailedCreatePodSandBox" and "OOM-killed" in (event.message or ""):
                return f"pod {name} has too little memory to begin, FailedCreatePodSandBox: {event.message}"
        return None

    def last_warning(self) -> list[str]:
        """The newest warning about a pod, such as of a probe that fails; none where there is nothing to warn of."""
        return [f"{newest.involved_object.name}: {newest.message}" for newest in self._warnings()[-1:]]

    def _warnings(self) -> list[client.CoreV1Event]:
        """Warnings about pods, oldest first."""
        about_pods = "type=Warning,involvedObject.kind=Pod"
        found = self._core.list_namespaced_event(self.namespace, field_selector=about_pods, _request_timeout=30)
        return sorted(found.items, key=_when)


def _lost(nodes: Iterable[client.V1Node]) -> dict[str, str]:
    """What is said of nodes whose kubelet is not heard of, by name (pkg/controller/nodelifecycle: Ready is Unknown)."""
    return {
        node.metadata.name: condition.message
        for node in nodes
        for condition in node.status.conditions or []
        if condition.type == "Ready" and condition.status == "Unknown"
    }


def _when(event: client.CoreV1Event) -> str:
    return str(event.last_timestamp or event.event_time or "")


def server_of(user: str) -> str:
    """Label selector of a user's server (kubespawner, _build_common_labels)."""
    return f"hub.jupyter.org/username={user}"


Log = Callable[[str, str, bool], str]
"""Gives the log of a container, by its pod's name and its own: of its last run, or of the one before."""


def is_ready(pod: client.V1Pod) -> bool:
    """Whether all of a pod is ready, as the kubelet found last."""
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])


def why_stuck(pods: Iterable[client.V1Pod], log: Log = lambda pod, container, before: "") -> str | None:
    """Why pods will never be ready, in the words of Kubernetes: the first cause found, or None.

    Args:
        log: its last lines go into the cause of a crash.
    """
    for pod in pods:
        if pod.metadata.deletion_timestamp:
            continue
        name = pod.metadata.name
        for condition in pod.status.conditions or []:
            if condition.type == "PodScheduled" and condition.reason == "Unschedulable" and not _may_preempt(condition):
                return f"pod {name} is Unschedulable: {condition.message}"
        for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
            if status.ready:
                continue
            ended = status.state.terminated or (status.last_state.terminated if status.last_state else None)
            if ended and ended.reason == "OOMKilled":
                limit = memory_limit(pod, status.name)
                return f"pod {name}: container {status.name} was OOMKilled: over its limit of {limit}"
            said = _said_of(ended, memory_limit(pod, status.name)) if ended else ""
            if status.state.terminated and status.restart_count and status.state.terminated.exit_code:
                # It waits in a CrashLoopBackOff already; the kubelet says so a quarter of a minute later.
                how = f"crashed twice, exit code {status.state.terminated.exit_code}{said}, image {status.image}"
                return f"pod {name}: container {status.name} {how}{_last_words(log(name, status.name, False))}"
            waiting = status.state.waiting
            if waiting and waiting.reason in HOPELESS and not _asks_again(waiting):
                detail = f": {waiting.message}" if waiting.message else ""
                crash = _last_words(log(name, status.name, True)) if waiting.reason == "CrashLoopBackOff" else ""
                why = f"{waiting.reason}{said}, image {status.image}{detail}"
                return f"pod {name}: container {status.name}: {why}{crash}"
    return None


def _said_of(ended: client.V1ContainerStateTerminated, limit: str) -> str:
    """What the runtime says of the end of a container whose memory has a limit; nothing where it says nothing."""
    # Of one that never ran: too low for its sandbox, it ends in whatever that was doing; but not in a missing program.
    never_ran = ended.reason == "StartError" and limit != "none" and 'exec: "' not in (ended.message or "")
    memory = f" with a memory limit of {limit}" if never_ran else ""
    return f", {ended.reason}{memory}: {ended.message}" if ended.message else ""


def _last_words(output: str) -> str:
    """The last line of a crashed program's output, and the lines before it; nothing for no output."""
    said = output.strip().splitlines()
    return f". It said last: {said[-1].strip()}{tail(output, 15)}" if said else ""


def _asks_again(waiting: client.V1ContainerStateWaiting) -> bool:
    """Whether the kubelet of a busy node only had too little time to fetch a Secret or ConfigMap that is there."""
    # pkg/kubelet/util/manager: it asks again at the next sync, a second or so later.
    return bool(re.search("failed to sync (secret|configmap) cache", waiting.message or ""))


def oom_killed(pods: Iterable[client.V1Pod]) -> bool:
    """Whether a container of these pods was killed for its memory, though it may have started again since."""
    statuses = [status for pod in pods for status in pod.status.container_statuses or []]
    states = [state for status in statuses for state in (status.state, status.last_state) if state]
    return any(state.terminated and state.terminated.reason == "OOMKilled" for state in states)


def _may_preempt(condition: client.V1PodCondition) -> bool:
    """Whether an Unschedulable pod may still find room: by preemption, or on a node that is only now coming up."""
    message = condition.message or ""
    return "not-ready" in message or ("Insufficient" in message and "No preemption victims found" not in message)


def memory_limit(pod: client.V1Pod, container: str) -> str:
    """The limit of a container's memory, as its pod has it; "none" where there is none."""
    for spec in [*(pod.spec.init_containers or []), *pod.spec.containers]:
        if spec.name == container and spec.resources and spec.resources.limits:
            return str(spec.resources.limits.get("memory", "none"))
    return "none"


def check_port(port: int) -> None:
    """See that a loopback port is free.

    Raises:
        HarnessError: something listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return  # A port below 1024: Docker, which publishes it, is root.
        except OSError as error:
            raise HarnessError(
                f"Port {port} on 127.0.0.1 is taken ({os.strerror(error.errno or 0)}). "
                "Give another, or 0 for any free one."
            ) from error
