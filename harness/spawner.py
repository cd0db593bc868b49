"""The deployed spawner, asked which pod it would create, in the hub's own image and under its own configuration."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.chart import Manifest
from harness.cluster import Cluster, why_stuck
from harness.errors import HarnessError
from harness.hub import Hub
from harness.wait import NotYet, wait_until

GPU = "nvidia.com/gpu"
GPU_NODE = "ol.mit.edu/gpu_node"


@dataclass(frozen=True)
class Request:
    """What a person asks the hub for a server with.

    Attributes:
        query: of the link, encoded, as it arrives at /hub/spawn; None where nobody followed one.
        options: `user_options` as the REST API takes them, instead of what the hub makes of the query.
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
    """What the spawner makes of a request: the essence of the pod, or the error that it ends in."""

    image: str = ""
    default_url: str | None = None
    """Where the server sends a student who asks for no page; None where the server itself decides."""
    gpus: int = 0
    on_gpu_node: bool = False
    """Whether the pod can land on a GPU node only."""
    error: str = ""

    @property
    def tag(self) -> str:
        """The image's tag."""
        return self.image.rpartition(":")[2]

    def __str__(self) -> str:
        if self.error:
            return f"an error: {self.error}"
        gpu = ", a GPU" if self.gpus else ""
        return f"image {self.tag}, page {self.default_url or 'of its own choice'}{gpu}"


def read_choice(answer: Mapping[str, Any]) -> Choice:
    """A choice out of an answer of in_hub.py."""
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
    )


def _needs_gpu_node(spec: Mapping[str, Any]) -> bool:
    if GPU_NODE in (spec.get("nodeSelector") or {}):
        return True
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or []
    keys = [{match["key"] for match in term.get("matchExpressions", [])} for term in terms]
    # Terms are alternatives: a pod may go where any of them holds.
    return bool(keys) and all(GPU_NODE in each for each in keys)


def ask(cluster: Cluster, hub: Hub, requests: Iterable[Request]) -> list[Choice]:
    """What a hub's spawner would create for each request, in their order.

    All are asked at once, in one process beside the hub's own: about 3 s for the first, milliseconds for each other.

    Raises:
        HarnessError: the hub's configuration does not load, or no such pod can run.
    """
    template = cluster.deployment(hub.namespace, "hub")["spec"]["template"]
    hub_container = template["spec"]["containers"][0]
    pod = f"harness-{secrets.token_hex(4)}"
    cluster.apply(hub.namespace, pod_beside(template, pod))
    try:
        _wait_for_pod(cluster, hub, pod)
        # The hub's own arguments, but for the name of its program.
        arguments = [str(argument) for argument in hub_container.get("args", []) if argument != "jupyterhub"]
        script = Path(__file__).with_name("in_hub.py").read_text()
        given = json.dumps([request.as_json() for request in requests])
        command = ["exec", "--stdin", "--namespace", hub.namespace, pod, "--", "python3", "-c", script, *arguments]
        said = cluster.kubectl(*command, stdin=given, timeout=120)
    finally:
        cluster.kubectl(
            "delete", "pod", pod, "--namespace", hub.namespace, "--ignore-not-found", "--wait=false", "--now"
        )
    answers: list[dict[str, Any]] = json.loads(said.splitlines()[-1])
    return [read_choice(answer) for answer in answers]


def pod_beside(template: Manifest, name: str) -> Manifest:
    """A pod like the hub's own, in which nothing runs yet and to which no Service leads."""
    spec = copy.deepcopy(template["spec"])
    container = spec["containers"][0]
    for key in ("args", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "ports", "resources"):
        container.pop(key, None)
    container["command"] = ["sleep", "infinity"]
    metadata = {"name": name, "labels": {"harness": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "restartPolicy": "Never"}}


def _wait_for_pod(cluster: Cluster, hub: Hub, name: str) -> None:
    pods = cluster.pods(hub.namespace)

    def running() -> bool | NotYet:
        phases = [pod.status.phase for pod in pods.look(f"harness={name}")]
        return phases == ["Running"] or NotYet(f"its phase is {' '.join(phases)}")

    wait_until(
        "the pod that asks the spawner",
        running,
        timeout=60,
        fail_if=lambda: why_stuck(pods.look(f"harness={name}")),
        change=pods.change,
    )


def known_courses(choices: Mapping[str, Choice]) -> set[str]:
    """Those of the courses that were asked for which got their own image.

    Raises:
        HarnessError: one of them ended in an error.
    """
    broken = [f"{course}: {choice.error}" for course, choice in choices.items() if choice.error]
    if broken:
        raise HarnessError(f"The spawner fails for courses: {'; '.join(broken)}")
    return {course for course, choice in choices.items() if choice.tag == course}
