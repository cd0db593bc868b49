"""A probe of a hub in its own image: the pods that its spawner would create, and its settings in force."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client

from harness.base.errors import HarnessError
from harness.base.shell import CommandError, Dialogue
from harness.base.wait import NotYet
from harness.charts.manifests import Manifest
from harness.cluster.kind import Cluster
from harness.cluster.pods import wait_for_pods
from harness.hub.api import Hub

Settings = Mapping[str, Any]
"""Settings of one class in force, by name, without secrets."""
GPU = "nvidia.com/gpu"
GPU_NODE = "ol.mit.edu/gpu_node"


@dataclass(frozen=True)
class Request:
    """A person's request for a server.

    Attributes:
        query: of the link, encoded, as it arrives at /hub/spawn; None without a link.
        options: `user_options` as the REST API takes them, instead of those that the hub reads from the query.
        form: the spawn form's fields as they are sent, instead of either.
    """

    query: str | None = ""
    options: Any = None
    form: Mapping[str, list[str]] | None = None

    def as_json(self) -> dict[str, Any]:
        given = {"options": self.options, "form": self.form}
        return {"query": self.query, **{name: value for name, value in given.items() if value is not None}}


@dataclass(frozen=True)
class Choice:
    """The spawner's answer to a request: the essence of the pod, or the error that it ends in."""

    image: str = ""
    default_url: str | None = None
    """Page that the server opens for a student who asks for none; None where the server itself decides."""
    gpus: int = 0
    on_gpu_node: bool = False
    """True if the pod can run on a GPU node only."""
    error: str = ""
    pod: Manifest = field(default_factory=dict, compare=False, repr=False)
    """The whole pod."""
    spawner: Settings = field(default_factory=dict, compare=False, repr=False)
    """The spawner's settings in force when it asks for the pod."""

    @property
    def tag(self) -> str:
        """Return the image's tag."""
        return self.image.rpartition(":")[2]

    def __str__(self) -> str:
        if self.error:
            return f"an error: {self.error}"
        gpu = ", a GPU" if self.gpus else ""
        return f"image {self.tag}, page {self.default_url or 'of its own choice'}{gpu}"


@dataclass(frozen=True)
class HubAnswer:
    """A hub's answer to a probe.

    Attributes:
        choices: of its spawner, in the order of the requests.
        configuration: settings in force by part of the hub: JupyterHub, Authenticator, Proxy and Spawner, each with
            its `class`, or with the `error` in which its making ends; under `given`, as they were set, by class.
    """

    choices: list[Choice]
    configuration: Mapping[str, Settings]


def read_choice(answer: Mapping[str, Any]) -> Choice:
    """Read a choice from an answer of in_hub.py."""
    if "error" in answer:
        return Choice(error=answer["error"])
    pod = answer["pod"]
    container = pod["spec"]["containers"][0]
    env = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
    return Choice(
        image=container["image"],
        default_url=env.get("JUPYTERHUB_DEFAULT_URL"),
        gpus=int((container["resources"].get("limits") or {}).get(GPU, 0)),
        on_gpu_node=_needs_gpu_node(pod["spec"]),
        pod=pod,
        spawner=answer.get("spawner", {}),
    )


def _needs_gpu_node(spec: Mapping[str, Any]) -> bool:
    if (spec.get("nodeSelector") or {}).get(GPU_NODE) == "true":
        return True
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or []
    keys = [
        {
            match["key"]
            for match in term.get("matchExpressions", [])
            if match["operator"] == "Exists" or (match["operator"] == "In" and "true" in match.get("values", ()))
        }
        for term in terms
    ]
    # Terms are alternatives: a pod may go where any of them holds.
    return bool(keys) and all(GPU_NODE in each for each in keys)


Ask = Callable[[Iterable[Request]], HubAnswer]
"""Asks a hub what its spawner would create for each request, and which settings are in force.

One process of the hub answers: about 3 s for the first request, in which it loads its configuration, and milliseconds
for each other.

Raises:
    HarnessError: the hub's configuration does not load.
"""


def ask(cluster: Cluster, objects: Iterable[Manifest], requests: Iterable[Request]) -> HubAnswer:
    """Ask a hub once; arguments and errors are those of `hub_to_ask` and `Ask`."""
    with hub_to_ask(cluster, objects) as asked:
        return asked(requests)


@contextmanager
def hub_to_ask(cluster: Cluster, objects: Iterable[Manifest]) -> Iterator[Ask]:
    """Have a hub to ask while the context is open.

    It is a pod like the hub's own, but without the resources that the hub asks for, in a namespace that is made for it;
    the hub itself need not be there.

    Args:
        objects: of the hub's release, as they are rendered, and those that it needs beside them.

    Raises:
        HarnessError: no such pod can run.
    """
    given = list(objects)
    [hub] = [each for each in given if each["kind"] == "Deployment" and each["metadata"]["name"] == "hub"]
    template = hub["spec"]["template"]
    name = f"harness-{secrets.token_hex(4)}"
    needed = [_moved(each, name) for each in given if each["kind"] in NEEDED]
    # The hub's own arguments, but for the name of its program.
    given_arguments = template["spec"]["containers"][0].get("args", [])
    arguments = [str(argument) for argument in given_arguments if argument != "jupyterhub"]
    script = Path(__file__).with_name("in_hub.py").read_text()
    command = ("python3", "-c", script, *arguments)

    try:
        cluster.apply(name, *needed, pod(name, beside(template, service_variables(given))))
        _wait_for_pod(cluster, name)
        with ExitStack() as processes:
            process: Dialogue | None = None

            def asked(requests: Iterable[Request]) -> HubAnswer:
                nonlocal process
                process = process or processes.enter_context(
                    cluster.dialogue(name, name, *command, timeout=ANSWER_TIMEOUT)
                )
                try:
                    found = json.loads(process(json.dumps([request.as_json() for request in requests])))
                except CommandError:
                    process = None  # the next question is put to another one
                    raise
                return HubAnswer([read_choice(answer) for answer in found["answers"]], found["configuration"])

            yield asked
    finally:
        cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


ANSWER_TIMEOUT = 120
"""Seconds for a hub's answer, the loading of its configuration included."""
NEEDED = {"ServiceAccount", "Role", "RoleBinding", "Secret", "ConfigMap", "PersistentVolumeClaim"}
"""Kinds of objects without which a hub's pod does not start, or its spawner may not look at the pods there are."""


def _moved(manifest: Manifest, namespace: str) -> Manifest:
    """Return an object of a release as it would be in another namespace, its roles bound to the accounts there."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "namespace"}
    subjects = [
        {**subject, "namespace": namespace} if subject["kind"] == "ServiceAccount" else subject
        for subject in manifest.get("subjects", [])
    ]
    return {**manifest, "metadata": metadata, **({"subjects": subjects} if subjects else {})}


def node_for(cluster: Cluster, hub: Hub, choice: Choice) -> str:
    """Return the node that the scheduler chooses for a pod of a hub's spawner; the pod is removed before it works.

    Raises:
        NeverError: no node takes it; the message has the scheduler's words.
        TooLateError: the scheduler has decided nothing within a minute.
    """

    def node(pods: list[client.V1Pod]) -> str | NotYet:
        found = [pod.spec.node_name for pod in pods if pod.spec.node_name]
        return str(found[0]) if found else NotYet("the scheduler has decided nothing")

    what = f"a node for a server with {choice}"
    with own_pod(cluster, hub.namespace, choice.pod["spec"]) as selector:
        return wait_for_pods(cluster.pods(hub.namespace), selector, what, node, timeout=60)


@contextmanager
def own_pod(cluster: Cluster, namespace: str, spec: Mapping[str, Any]) -> Iterator[str]:
    """Have a pod of our own in a namespace while the context is open; yield the selector of it alone."""
    name = f"harness-{secrets.token_hex(4)}"
    try:
        cluster.apply(namespace, pod(name, spec))
        yield f"harness={name}"
    finally:
        cluster.kubectl("delete", "pod", name, "--namespace", namespace, "--ignore-not-found", "--wait=false", "--now")


def pod(name: str, spec: Mapping[str, Any]) -> Manifest:
    """Return a pod of our own: its label `harness` is its name, no Service or hub takes it for one of theirs."""
    metadata = {"name": name, "labels": {"harness": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": dict(spec)}


def service_variables(objects: Iterable[Manifest]) -> list[dict[str, str]]:
    """Return the variables that Kubernetes sets in pods for a namespace's Services (kubernetes, pkg/kubelet/envvars).

    In place of a Service's address there is its name: no request goes there.
    """
    found = {}
    for service in (each for each in objects if each["kind"] == "Service"):
        name = service["metadata"]["name"].upper().replace("-", "_")
        first, *_ = ports = service["spec"]["ports"]
        found[f"{name}_SERVICE_HOST"] = service["metadata"]["name"]
        found[f"{name}_SERVICE_PORT"] = str(first["port"])
        for port in ports:
            if "name" in port:
                found[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    return [{"name": name, "value": value} for name, value in found.items()]


def beside(template: Manifest, variables: Iterable[dict[str, str]] = ()) -> dict[str, Any]:
    """Return the spec of a pod like the hub's own, in which nothing runs yet.

    Args:
        variables: for its environment; the hub's own win.
    """
    spec = copy.deepcopy(template["spec"])
    # The class is the release's, which need not be there yet.
    spec.pop("priorityClassName", None)
    container = spec["containers"][0]
    for key in ("args", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "ports", "resources"):
        container.pop(key, None)
    container["command"] = ["sleep", "infinity"]
    container["env"] = [*variables, *container.get("env", [])]
    return {**spec, "restartPolicy": "Never"}


def _wait_for_pod(cluster: Cluster, name: str) -> None:
    def running(pods: list[client.V1Pod]) -> bool | NotYet:
        phases = [pod.status.phase for pod in pods]
        return phases == ["Running"] or NotYet(f"its phase is {' '.join(phases)}")

    wait_for_pods(cluster.pods(name), f"harness={name}", "the pod that asks the spawner", running, timeout=60)


def known_courses(choices: Mapping[str, Choice]) -> set[str]:
    """Return the courses, of those that were asked for, that got their own image.

    Raises:
        HarnessError: one of them ended in an error.
    """
    broken = [f"{course}: {choice.error}" for course, choice in choices.items() if choice.error]
    if broken:
        raise HarnessError(f"The spawner fails for courses: {'; '.join(broken)}")
    return {course for course, choice in choices.items() if choice.tag == course}
