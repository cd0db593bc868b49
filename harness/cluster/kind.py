"""The kind cluster: a control plane that takes pods, and a worker that plays the GPU node."""

from __future__ import annotations

import functools
import json
import os
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from pytest_kind import KindCluster
from urllib3.exceptions import HTTPError

from harness.base.errors import HarnessError
from harness.base.shell import CommandError, Dialogue, dialogue, run, tail
from harness.base.wait import NotYet, TooLateError, seldom, wait_until
from harness.cluster.client import connect
from harness.cluster.pod_health import ended_pods, is_ready, is_running, lost_nodes, started_after
from harness.cluster.pods import PodWatch, server_of
from harness.host import docker, node_store
from harness.plan.hubs import (
    AUTHORING_NODE_PORT,
    GATE_HTTP_NODE_PORT,
    GATE_HTTPS_NODE_PORT,
    SCALED_NODE_PORT,
    STUDENT_NODE_PORT,
)

GPUS = 32
"""GPUs that the worker pretends to have: enough for every course that asks for one to run at once on one node."""
SERVICE_RANGE = "10.96.0.0/16"
POD_RANGE = "10.244.0.0/16"
"""Addresses of Services and of pods: kind's defaults (pkg/apis/config/defaults.go)."""
OUTGOING_CHAINS = ("FORWARD", "OUTPUT")
"""Chains of iptables' filter that a packet passes after its Service's address became a pod's."""
CREATE_SECONDS = 300
PATCHES = "/kind/patches"
"""The place in the control plane where kubeadm finds changes of its static pods (kubeadm init --patches)."""
GATE_FILES = "/etc/gate"
"""The place in the control plane of the gate's files, which are the run's own."""
STATIC_PODS: Mapping[str, list[str]] = {
    "kube-apiserver": [],
    # The kernel decides when etcd's files reach the disk: nothing here has to survive a power cut.
    "etcd": ["--unsafe-no-fsync"],
    # There is one of each, which need not wait to be chosen. Each controller asks for an account of its own, and at the
    # twenty requests a second of the default the first node would wait four seconds.
    "kube-controller-manager": ["--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400"],
    "kube-scheduler": ["--leader-elect=false"],
}
"""Options of the control plane's parts beside kubeadm's."""
COLLECTOR = {"name": "GOGC", "value": "400"}
"""Variable of these parts: at Go's default, 100, a fifth of the API server's time goes into collecting its garbage. The
node image has the same for containerd and the kubelet (images/node, system.conf.d)."""
RESUME_TIMEOUT = 60.0
"""Seconds for the API server of a cluster whose nodes were stopped to answer again."""
RESUME_ATTEMPT = 2
"""Seconds that it has for one answer meanwhile."""
AT_ONCE = ("--grace-period=0", "--force")
"""Options by which kubectl removes a pod whose node may not answer."""
NAME_SERVERS = "k8s-app=kube-dns"
"""Label of CoreDNS's pods (kubeadm, cmd/kubeadm/app/phases/addons/dns/manifests.go)."""
RESUMING = "ol-jupyterhub-harness/resuming:NoSchedule"
"""Taint of nodes that are to take no pods yet."""
SERVICE_RULES = "KUBE-SERVICES"
"""Chain of kube-proxy's rules, of which a node that starts has none (kubernetes, pkg/proxy/iptables)."""
TIMED_OUT = 124
"""Exit code of timeout(1) for a program that reached its limit."""


class Cluster:
    """One kind cluster, reached by its own kubeconfig and by nothing else."""

    def __init__(
        self, name: str, state: Path, *, kind: Path, kubectl: Path, image: str, store: str = "", network: str = ""
    ) -> None:
        self.name = name
        self.network = network or name
        self.state = state
        self.kubeconfig = state / "kubeconfig"
        self.certs = state / "certs.d"
        self.patches = state / "kubeadm"
        self.gate_files = state / "gate"
        self.log = state / "kind.log"
        self._image = image
        self._store = store
        self._kind = kind
        self._kubectl = kubectl

    @property
    def control_plane(self) -> str:
        return f"{self.name}-control-plane"

    @property
    def nodes(self) -> tuple[str, str]:
        """Return the names of the node containers: the control plane, and the worker that plays the GPU node."""
        return self.control_plane, f"{self.name}-worker"

    def create(self, template: Path, *, hub_port: int, authoring_port: int) -> None:
        """Create the cluster and wait until its nodes are ready.

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
        self.__dict__.pop("api", None)  # it may be of the cluster that was here before
        self.log.unlink(missing_ok=True)
        config_file = self.state / "kind-config.yaml"
        stores = node_store.give(self._store, self._image, self.nodes, self.network) if self._store else {}
        config_file.write_text(self._configuration(template, hub_port, authoring_port, stores))
        try:
            self._kind_cluster().create(config_file)
        except subprocess.CalledProcessError as error:
            output = self.log.read_text(errors="replace") if self.log.exists() else ""
            late = f" within {CREATE_SECONDS} s" if error.returncode == TIMED_OUT else ""
            raise HarnessError(f"kind could not create the cluster {self.name}{late}.{tail(output)}") from error
        patch = json.dumps(_core_dns_patch(self.control_plane))
        self.kubectl("patch", "deployment", "coredns", "--namespace=kube-system", f"--patch={patch}")
        self._connect_nodes()
        self._add_gpus()
        self._wait_for_nodes()

    def resume(self, before_pods: Callable[[], None]) -> None:
        """Start nodes that were stopped, such as by a restart of Docker, and wait until they are ready.

        All pods but the cluster's own are made anew: what is known of those that were there is as old as they are.

        Args:
            before_pods: called when the API server answers, and before any pod is made.

        Raises:
            CommandError: a container does not start.
            NeverError, TooLateError: the cluster does not come back.
        """
        docker.docker("start", *self.nodes)
        started = {node: docker.started_at(node) for node in self.nodes}
        self.__dict__.pop("api", None)

        def in_hand() -> bool | NotYet:
            # The API server is ready a moment before it has read who may do what, and may start a second time.
            try:
                # Not by kubectl, each start of which takes time from what is waited for.
                ready = f"{self.api.configuration.host}/readyz"
                self.api.rest_client.request("GET", ready, _request_timeout=RESUME_ATTEMPT)
                # A release's scheduler waits 15 s for the end of a lease that one before it has.
                self._remove_all("leases", "metadata.namespace!=kube-node-lease")
                # The nodes take no pods but the cluster's own, which start again by themselves.
                self.kubectl("taint", "nodes", "--all", "--overwrite", RESUMING)
                before_pods()
                self._remove_all("pods", "metadata.namespace!=kube-system", *AT_ONCE)
            except CommandError as error:
                return NotYet(_last_line(error))
            except ApiException as error:
                return NotYet(f"{error.status} {error.reason}")
            except HTTPError as error:
                return NotYet(str(error))
            return True

        wait_until("the API server", in_hand, timeout=RESUME_TIMEOUT, fail_if=self._why_gone())
        self._connect_nodes()
        # A hub that starts before names are served finds no database, and ends.
        self._wait_for_names(started)
        self._wait_for_proxies()
        self.kubectl("taint", "nodes", "--all", f"{RESUMING}-")
        self._wait_for_nodes(since=started)
        # What a kubelet does not know of, it takes away from its node when it starts.
        self._add_gpus()

    def _remove_all(self, kinds: str, where: str, *options: str) -> None:
        self.kubectl("delete", kinds, "--all-namespaces", f"--field-selector={where}", "--wait=false", *options)

    def _configuration(self, template: Path, hub_port: int, authoring_port: int, stores: Mapping[str, Path]) -> str:
        configuration: dict[str, Any] = yaml.safe_load(template.read_text())
        self.certs.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, node in zip(self.nodes, configuration["nodes"], strict=True):
            node["extraMounts"] = [{"hostPath": str(self.certs), "containerPath": "/etc/containerd/certs.d"}]
            if name in stores:
                node["extraMounts"].append({"hostPath": str(stores[name]), "containerPath": node_store.STORE})
        control_plane = configuration["nodes"][0]
        self.patches.mkdir(exist_ok=True)
        for pod, options in STATIC_PODS.items():
            patch = [{"op": "add", "path": "/spec/containers/0/command/-", "value": option} for option in options]
            (self.patches / f"{pod}+json.yaml").write_text(yaml.safe_dump(patch))
            # Beside the variables that kubeadm sets, those of a proxy.
            environment = {"spec": {"containers": [{"name": pod, "env": [COLLECTOR]}]}}
            (self.patches / f"{pod}+strategic.yaml").write_text(yaml.safe_dump(environment))
        control_plane["extraMounts"].append({"hostPath": str(self.patches), "containerPath": PATCHES, "readOnly": True})
        self.gate_files.mkdir(exist_ok=True)
        # Apache's own processes, which are no root, read them.
        self.gate_files.chmod(0o755)
        control_plane["extraMounts"].append(
            {"hostPath": str(self.gate_files), "containerPath": GATE_FILES, "readOnly": True}
        )
        control_plane["kubeadmConfigPatches"].append(
            yaml.safe_dump({"kind": "InitConfiguration", "patches": {"directory": PATCHES}})
        )
        control_plane["extraPortMappings"] = [
            # -1 leaves the choice to Docker, which cannot lose a race for the port.
            {"containerPort": inner, "hostPort": outer or -1, "listenAddress": "127.0.0.1"}
            for inner, outer in (
                (STUDENT_NODE_PORT, hub_port),
                (AUTHORING_NODE_PORT, authoring_port),
                (SCALED_NODE_PORT, 0),
                (GATE_HTTP_NODE_PORT, 0),
                (GATE_HTTPS_NODE_PORT, 0),
            )
        ]
        return yaml.safe_dump(configuration, sort_keys=False)

    def _kind_cluster(self) -> KindCluster:
        """Return pytest-kind's cluster, its kind a script with a time limit, a log and the run's own network.

        KindCluster itself calls kind without a limit, and lets it print to the terminal.
        """
        script, written = self.state / "kind", self.state / "kind.sh"
        kind, log = shlex.quote(str(self._kind)), shlex.quote(str(self.log))
        written.write_text(
            "#!/bin/sh\n"
            f"export KIND_EXPERIMENTAL_DOCKER_NETWORK={shlex.quote(self.network)}\n"
            f'case "$1" in get) exec timeout 30 {kind} "$@" 2>>{log} ;; esac\n'
            # The nodes of a cluster that does not come up have logs, which kind would remove with them.
            '[ "$1" != create ] || set -- "$@" --retain\n'
            # KindCluster kills this script on Ctrl-C; kind must not survive it and go on making nodes.
            f"exec timeout --foreground {CREATE_SECONDS} "
            f'setpriv --pdeathsig KILL {kind} "$@" >>{log} 2>&1\n'
        )
        # By a program: what another thread starts while this process has a file open for writing holds it open too, and
        # the file cannot be run ("Text file busy").
        run(["install", "--mode=755", written, script], timeout=20)
        return _KindInState(self.name, self.state, self.kubeconfig, self._image, script, self._kubectl)

    def _connect_nodes(self) -> None:
        """Give each node a route to the other's pods, and keep packets for the cluster's addresses inside it.

        The built node image's network reaches its own node only; kindest/node's sets the same routes by itself.
        Until kube-proxy knows a new Service, or that a pod is gone, no pod has that address: a packet would go out to
        the machine's own network, and a host that answers there would pass for the hub for as long as a client keeps
        that connection.
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
            reject = [
                f"iptables --append {chain} --destination {SERVICE_RANGE} --jump REJECT" for chain in OUTGOING_CHAINS
            ]
            unassigned = f"ip route replace unreachable {POD_RANGE}"
            docker.docker("exec", node, "sh", "-c", " && ".join([*routes, unassigned, *reject]))

    def _pod_range(self, node: str) -> str | NotYet:
        try:
            found: str | None = self.core.read_node(node).spec.pod_cidr
        except ApiException as error:
            if error.status != 404:
                raise
            # kind returns when the worker's kubelet runs, which is a moment before the API server knows the node.
            return NotYet("the API server does not know the node")
        return found or NotYet("none yet")

    def _add_gpus(self) -> None:
        """Make the worker a node with GPUs: a capacity without a device, as the kubelet lets an operator set it."""
        patch = [{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": str(GPUS)}]
        self.core.patch_node_status(self.nodes[1], patch)

    def _wait_for_nodes(self, since: Mapping[str, float] | None = None) -> None:
        """Wait until both nodes are ready.

        Args:
            since: times, as time.time(), by node: the API server must have heard of the node after that.
        """

        def ready() -> bool | NotYet:
            waiting = [
                f"{node.metadata.name}: {condition.message}"
                for node in self.core.list_node().items
                for condition in node.status.conditions or []
                if condition.type == "Ready"
                and (condition.status != "True" or (since and _heard(condition) < int(since[node.metadata.name])))
            ]
            return NotYet("; ".join(waiting)) if waiting else True

        wait_until("both nodes of the cluster", ready, timeout=120, fail_if=self._why_gone())

    def _wait_for_proxies(self) -> None:
        """Wait until kube-proxy leads to the API server on both nodes, and so to the cluster's name servers."""

        def lead() -> bool | NotYet:
            waiting = [node for node in self.nodes if not self._leads_to_the_api_server(node)]
            return NotYet(f"not yet on {' '.join(waiting)}") if waiting else True

        wait_until("kube-proxy", lead, timeout=RESUME_TIMEOUT, fail_if=self._why_gone())

    def _wait_for_names(self, since: Mapping[str, float]) -> None:
        """Wait until CoreDNS's pods are ready.

        Args:
            since: times, as time.time(), by node: what the API server knows of an older start counts for nothing.
        """

        def ready() -> bool | NotYet:
            pods = self.pods("kube-system").look(NAME_SERVERS)
            waiting = [
                pod.metadata.name
                for pod in pods
                if not is_ready(pod) or not started_after(pod, int(since[pod.spec.node_name]))
            ]
            return NotYet(f"{' '.join(waiting) or 'no pod'}") if waiting or not pods else True

        wait_until("the cluster's name servers", ready, timeout=RESUME_TIMEOUT, fail_if=self._why_gone())

    def _leads_to_the_api_server(self, node: str) -> bool:
        try:
            rules = docker.docker("exec", node, "iptables", "--table", "nat", "--list-rules", SERVICE_RULES)
        except CommandError:
            return False
        return "default/kubernetes:https" in rules

    def _failed_request(self, path: str, seconds: int) -> CommandError | None:
        """Ask the API server for a path, and return the error if it has not answered well within some seconds."""
        try:
            self.kubectl("get", f"--raw={path}", f"--request-timeout={seconds}s", timeout=seconds + 2)
        except CommandError as error:
            return error
        return None

    def _why_gone(self) -> Callable[[], str | None]:
        return seldom(lambda: docker.stopped(self.name, self.nodes))

    @functools.cached_property
    def api(self) -> client.ApiClient:
        return connect(self.kubeconfig)

    @property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    @property
    def apps(self) -> client.AppsV1Api:
        return client.AppsV1Api(self.api)

    def answers(self) -> bool:
        """Return True if the API server answers and knows both nodes as ready."""
        if not self.kubeconfig.exists():
            return False
        ready = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
        try:
            # By kubectl: loading the client takes two seconds, which the reuse of a kept cluster can do without.
            found = self.kubectl("get", "nodes", "--request-timeout=5s", f"--output=jsonpath={ready}")
        except CommandError:
            return False
        return found.split() == ["True"] * len(self.nodes)

    def why_silent(self, seconds: int) -> str:
        """Return in a line why the API server has no answer within some seconds; empty where it has one."""
        error = self._failed_request("/livez", seconds)
        # A refusal is an answer.
        return "" if not error or "Error from server" in error.output else _last_line(error)

    def lost(self, seconds: int) -> dict[str, str]:
        """Return the lost nodes with Kubernetes' message about each; none where the API server does not answer."""
        try:
            return lost_nodes(self.core.list_node(_request_timeout=seconds).items)
        except (ApiException, HTTPError):
            return {}

    def ended_pods(self, namespace: str, seconds: int) -> dict[str, str]:
        """Return the pods of a namespace that have ended, with how; none where the API server does not answer.

        A kubelet reports an end a second later: a pod that runs, and in which no program can be run, is waited for.
        """

        def reported() -> dict[str, str] | NotYet:
            there = self.core.list_namespaced_pod(namespace, _request_timeout=seconds).items
            names = [pod.metadata.name for pod in there if is_running(pod)]
            ending = [name for name in names if not self._runs_programs(namespace, name, seconds)]
            return NotYet(f"no program can be run in {', '.join(ending)}") if ending else ended_pods(there)

        try:
            return wait_until(f"the end of a pod of {namespace}", reported, timeout=seconds)
        except (ApiException, HTTPError, TooLateError):
            return {}

    def _runs_programs(self, namespace: str, pod: str, seconds: int) -> bool:
        try:
            self.kubectl("exec", "--namespace", namespace, pod, "--", "true", timeout=seconds)
        except CommandError:
            return False
        return True

    def hub_url(self, node_port: int) -> str:
        """Return the loopback URL of the hub behind a NodePort."""
        return f"http://{docker.published(self.control_plane, node_port)}"

    def pods(self, namespace: str) -> PodWatch:
        """Return the pods of a namespace, to look at and to wait on."""
        return PodWatch(self.core, namespace)

    def deployment(self, namespace: str, name: str) -> dict[str, Any]:
        """Return a Deployment as Kubernetes writes it."""
        found: dict[str, Any] = json.loads(
            self.kubectl("--namespace", namespace, "get", "deployment", name, "--output=json")
        )
        return found

    def images(self, node: str) -> set[str]:
        """Return the names of the images on a node."""
        return set(docker.docker("exec", node, "ctr", "--namespace", "k8s.io", "images", "ls", "--quiet").split())

    def restart(self, namespace: str, deployment: str) -> None:
        """Begin to replace the pods of a Deployment."""
        self.kubectl("--namespace", namespace, "rollout", "restart", f"deployment/{deployment}")

    def server_pod(self, namespace: str, user: str) -> client.V1Pod:
        """Return the pod of a user's server.

        Raises:
            HarnessError: there is none, or more than one; or the user has no name.
        """
        pods = self.pods(namespace).look(server_of(user))
        if len(pods) != 1:
            raise HarnessError(f"expected one pod of user {user}, found {[pod.metadata.name for pod in pods]}")
        return pods[0]

    def remove_server(self, namespace: str, user: str) -> None:
        """Remove the pod of a user's server without the hub: it is gone at once, even from a node that is lost."""
        self.kubectl("delete", "pod", "--namespace", namespace, "--selector", server_of(user), *AT_ONCE)

    def export_logs(self, into: Path, timeout: float) -> None:
        """Have kind write the nodes' own logs into a directory, a directory a node.

        Raises:
            CommandError: it failed, or was not done in time; what it wrote until then is kept.
        """
        run([self._kind, "export", "logs", into, "--name", self.name], timeout=timeout, what="kind export logs")

    def execute(self, namespace: str, pod: str, *command: str, container: str | None = None) -> str:
        """Run a command in a pod and return its standard output, for any exit code, within 60 s.

        By kubectl: the client has no limit until it is connected, and takes Ctrl-C for an error of the API.

        Raises:
            HarnessError: the command cannot be run.
        """
        where = ("exec", "--namespace", namespace, pod, *(("--container", container) if container else ()))
        return self.kubectl(*where, "--", "sh", "-c", '"$@" || :', "sh", *command)

    def remove_workloads(self, namespace: str) -> None:
        """Remove all that runs in a namespace, or that runs something there; pods are gone at once."""
        for kinds, how in (("deployments,statefulsets,daemonsets,replicasets", ()), ("pods", AT_ONCE)):
            self.kubectl("delete", kinds, "--all", "--namespace", namespace, *how)

    def apply(self, namespace: str, *objects: dict[str, Any]) -> None:
        """Create the namespace and the objects in it, or bring them up to date."""
        wanted = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, *objects]
        self.kubectl("--namespace", namespace, "apply", "--filename", "-", stdin=yaml.safe_dump_all(wanted))

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl on this cluster, and never on that of the caller's KUBECONFIG."""
        return run(self._kubectl_with(args), timeout=timeout, stdin=stdin, what=f"kubectl {' '.join(args[:4])}")

    def dialogue(self, namespace: str, pod: str, *command: str, timeout: float) -> AbstractContextManager[Dialogue]:
        """Start a program in a pod that answers each line with a line.

        Args:
            timeout: seconds for an answer.

        Raises:
            CommandError: kubectl cannot be started.
        """
        args = ("exec", "--stdin", "--namespace", namespace, pod, "--", *command)
        return dialogue(self._kubectl_with(args), timeout=timeout, what=f"kubectl {' '.join(args[:5])}")

    def _kubectl_with(self, args: Iterable[str]) -> list[str | Path]:
        return [self._kubectl, "--kubeconfig", self.kubeconfig, *args]


def _core_dns_patch(control_plane: str) -> dict[str, Any]:
    """Return what CoreDNS's Deployment has otherwise than kubeadm makes it.

    It is asked every second whether it is ready, not every ten, and first up to ten seconds after a kubelet has
    started; and it asks the API server by the name of its node, where it needs no kube-proxy. A hub that starts before
    it finds no database.
    """
    api_server = {"KUBERNETES_SERVICE_HOST": control_plane, "KUBERNETES_SERVICE_PORT": "6443"}
    container = {
        "name": "coredns",
        "readinessProbe": {"periodSeconds": 1},
        "env": [{"name": name, "value": value} for name, value in api_server.items()],
    }
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def _heard(condition: client.V1NodeCondition) -> float:
    heard: datetime = condition.last_heartbeat_time
    return heard.timestamp()


class _KindInState(KindCluster):  # type: ignore[misc]  # pytest-kind has no types
    """Keep KindCluster's directory among the run's own files, not under the current directory."""

    def __init__(self, name: str, path: Path, kubeconfig: Path, image: str, kind: Path, kubectl: Path) -> None:
        self.name, self.path, self.kubeconfig_path, self.image = name, path, kubeconfig, image
        self.kind_path, self.kubectl_path = kind, kubectl


def check_port(port: int) -> None:
    """Check that a loopback port is free.

    Raises:
        HarnessError: a program listens there.
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


def _last_line(error: CommandError) -> str:
    return [line for line in (error.output or str(error)).splitlines() if line.strip()][-1].strip()
