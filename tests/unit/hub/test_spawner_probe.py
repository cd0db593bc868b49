"""Asking the deployed spawner: what is asked, what is read from the pod, and the pod that asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from kubernetes.client import V1ObjectMeta, V1PodCondition, V1PodStatus

from harness.base.errors import HarnessError
from harness.base.shell import CommandError
from harness.base.wait import NeverError
from harness.cluster.pod_health import stuck_reason
from harness.hub.api import Hub
from harness.hub.spawner_probe import Choice, Request, ask, beside, hub_to_ask, known_courses, node_for, read_choice

IMAGE = "registry.example/courses:intro"
ON_GPU_NODE = {"key": "ol.mit.edu/gpu_node", "operator": "In", "values": ["true"]}
ELSEWHERE = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (Request("course=a"), {"query": "course=a"}),
        (Request(None), {"query": None}),
        (Request("", options={}), {"query": "", "options": {}}),
        (Request("", options={"course": None}), {"query": "", "options": {"course": None}}),
        (Request("", form={"course": ["a"]}), {"query": "", "form": {"course": ["a"]}}),
    ],
)
def test_request(request_: Request, sent: dict[str, Any]) -> None:
    assert request_.as_json() == sent


def answer(env: list[dict[str, str]], limits: dict[str, str], **spec: Any) -> dict[str, Any]:
    container = {"image": IMAGE, "env": env, "resources": {"limits": limits}}
    return {"pod": {"spec": {"containers": [container], **spec}}}


def terms(*each: list[dict[str, Any]]) -> dict[str, Any]:
    required = {"nodeSelectorTerms": [{"matchExpressions": expressions} for expressions in each]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


class TestChoice:
    def test_error(self) -> None:
        choice = read_choice({"error": "KeyError: 'x'"})
        assert choice == Choice(error="KeyError: 'x'")
        assert str(choice) == "an error: KeyError: 'x'"

    def test_page_and_gpu(self) -> None:
        env = [{"name": "JUPYTERHUB_DEFAULT_URL", "value": "/notebooks/A.ipynb"}]
        choice = read_choice(answer(env, {"nvidia.com/gpu": "1"}, affinity=terms([ON_GPU_NODE])))
        assert (choice.tag, choice.default_url, choice.gpus, choice.on_gpu_node) == (
            "intro",
            "/notebooks/A.ipynb",
            1,
            True,
        )
        assert str(choice) == "image intro, page /notebooks/A.ipynb, a GPU"

    def test_neither(self) -> None:
        choice = read_choice(answer([], {}))
        assert (choice.default_url, choice.gpus, choice.on_gpu_node) == (None, 0, False)
        assert str(choice) == "image intro, page of its own choice"

    @pytest.mark.parametrize(
        ("spec", "bound"),
        [
            ({"nodeSelector": {"ol.mit.edu/gpu_node": "true"}}, True),
            ({"affinity": terms([{**ON_GPU_NODE, "operator": "NotIn"}])}, False),
            ({"affinity": terms([{**ON_GPU_NODE, "values": ["false"]}])}, False),
            ({"nodeSelector": {ON_GPU_NODE["key"]: "false"}}, False),
            ({"affinity": terms([ON_GPU_NODE, ELSEWHERE])}, True),
            ({"affinity": terms([ON_GPU_NODE], [ELSEWHERE])}, False),
            ({"affinity": terms([ELSEWHERE])}, False),
            ({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}}, False),
        ],
        ids=["selector", "kept-off", "other-value", "other-label", "both", "either", "elsewhere", "preferred"],
    )
    def test_bound_to_the_gpu_node(self, spec: dict[str, Any], bound: bool) -> None:
        assert read_choice(answer([], {}, **spec)).on_gpu_node is bound


def test_known_courses() -> None:
    """Known is what gets an image of its own; what an error hides is neither."""
    choices = {name: Choice(image=f"courses:{tag}") for name, tag in {"a": "a", "b": "base"}.items()}
    assert known_courses(choices) == {"a"}
    with pytest.raises(HarnessError, match=r"\AThe spawner fails for courses: c: KeyError\Z"):
        known_courses({**choices, "c": Choice(error="KeyError")})


def test_beside_the_hub() -> None:
    """It has the hub's configuration, and runs nothing."""
    hub = {"name": "hub", "image": "hub:1", "args": ["jupyterhub"], "env": [{"name": "A", "value": "b"}]}
    probes = {"readinessProbe": {}, "livenessProbe": {}, "resources": {"limits": {"memory": "256Mi"}}}
    template: dict[str, Any] = {
        "metadata": {"labels": {"component": "hub"}},
        "spec": {
            "containers": [{**hub, **probes}],
            "volumes": [{"name": "config"}],
            "serviceAccountName": "hub",
            "priorityClassName": "jupyterhub-default-priority",
        },
    }
    spec = beside(template)
    assert "priorityClassName" not in spec, "the pod wants a class that comes with the release"
    assert spec["volumes"] == [{"name": "config"}]
    assert spec["serviceAccountName"] == "hub"
    [container] = spec["containers"]
    expected = {"name": "hub", "image": "hub:1", "command": ["sleep", "infinity"], "env": hub["env"]}
    assert container == expected
    assert "args" in template["spec"]["containers"][0], "the hub's own Deployment was changed"


class TestAsk:
    """What is brought into the cluster for a question, and what becomes of it."""

    HUB: ClassVar[dict[str, Any]] = {
        "kind": "Deployment",
        "metadata": {"name": "hub"},
        "spec": {"template": {"spec": {"containers": [{"name": "hub", "args": ["jupyterhub", "--config", 1]}]}}},
    }
    SECRET: ClassVar[dict[str, Any]] = {"kind": "Secret", "metadata": {"name": "hub", "namespace": "jupyter"}}
    BINDING: ClassVar[dict[str, Any]] = {
        "kind": "RoleBinding",
        "metadata": {"name": "hub"},
        "subjects": [
            {"kind": "ServiceAccount", "name": "hub", "namespace": "jupyter"},
            {"kind": "Group", "name": "operators"},
        ],
        "roleRef": {"kind": "Role", "name": "hub"},
    }
    OTHERS = (
        {
            "kind": "Service",
            "metadata": {"name": "proxy-api"},
            "spec": {"ports": [{"port": 8001, "name": "http-api"}, {"port": 1}]},
        },
        {"kind": "Deployment", "metadata": {"name": "proxy"}},
    )

    def test_in_a_namespace_of_its_own(self) -> None:
        applied: list[Any] = []
        calls: list[tuple[str, ...]] = []

        asked: list[str] = []

        @contextmanager
        def dialogue(namespace: str, pod: str, *command: str, timeout: float) -> Iterator[Callable[[str], str]]:
            calls.append(command)
            found = {"answers": [answer([], {})], "configuration": {"JupyterHub": {"port": 1}}}

            def ask(line: str) -> str:
                asked.append(line)
                return json.dumps(found)

            yield ask

        def kubectl(*command: str) -> None:
            calls.append(command)

        pod = SimpleNamespace(status=SimpleNamespace(phase="Running"))
        pods = SimpleNamespace(look=lambda _: [pod], change=lambda _: None)
        cluster: Any = SimpleNamespace(
            apply=lambda *each: applied.extend(each), dialogue=dialogue, kubectl=kubectl, pods=lambda _: pods
        )
        found = ask(cluster, [self.HUB, self.SECRET, self.BINDING, *self.OTHERS], [Request("course=intro")])
        assert [choice.tag for choice in found.choices] == ["intro"]
        assert found.configuration == {"JupyterHub": {"port": 1}}
        namespace, secret, binding, asking = applied
        assert secret == {"kind": "Secret", "metadata": {"name": "hub"}}
        account, group = binding["subjects"]
        assert account == {"kind": "ServiceAccount", "name": "hub", "namespace": namespace}, "it may not look at pods"
        assert group == {"kind": "Group", "name": "operators"}
        assert asking["metadata"] == {"name": namespace, "labels": {"harness": namespace}}
        assert asking["spec"]["containers"][0]["env"] == [
            {"name": "PROXY_API_SERVICE_HOST", "value": "proxy-api"},
            {"name": "PROXY_API_SERVICE_PORT", "value": "8001"},
            {"name": "PROXY_API_SERVICE_PORT_HTTP_API", "value": "8001"},
        ]
        assert asked == ['[{"query": "course=intro"}]']
        started, removed = calls
        assert started[-2:] == ("--config", "1")
        assert removed == ("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def test_a_question_after_one_that_ended_the_process() -> None:
    """A spawner that takes its process down with one question is asked the next all the same."""

    def fail(line: str) -> str:
        raise CommandError("exit code 3")

    def tell(line: str) -> str:
        return json.dumps({"answers": [answer([], {})], "configuration": {}})

    answers = [fail, tell]
    pod = SimpleNamespace(status=SimpleNamespace(phase="Running"))
    cluster: Any = SimpleNamespace(
        apply=lambda *_: None,
        kubectl=lambda *_: None,
        dialogue=lambda *_, timeout: nullcontext(answers.pop(0)),
        pods=lambda _: SimpleNamespace(look=lambda _: [pod], change=lambda _: None),
    )
    with hub_to_ask(cluster, [TestAsk.HUB]) as asked:
        with pytest.raises(CommandError, match="exit code 3"):
            asked([Request("course=intro")])
        for _ in range(2):
            assert [choice.tag for choice in asked([Request("course=intro")]).choices] == ["intro"]


class FakeCluster:
    """A cluster whose scheduler says one thing of every pod."""

    def __init__(self, node: str = "", why: str = "") -> None:
        self.node, self.why = node, why
        self.done: list[str] = []

    def apply(self, namespace: str, pod: dict[str, Any]) -> None:
        assert pod["metadata"]["labels"] == {"harness": pod["metadata"]["name"]}, (
            "a Service or a hub may take it for its own"
        )
        self.done.append(f"{namespace}: {pod['spec']}")

    def kubectl(self, *command: str) -> None:
        self.done.append(command[0])

    def pods(self, _: str) -> Any:
        condition = V1PodCondition(type="PodScheduled", status="False", reason="Unschedulable", message=self.why)
        status = V1PodStatus(conditions=[condition] if self.why else [])
        spec = SimpleNamespace(node_name=self.node)
        pod = SimpleNamespace(metadata=V1ObjectMeta(name="harness-1"), spec=spec, status=status)
        return SimpleNamespace(look=lambda _: [pod], change=lambda _: None, stuck_reason=stuck_reason)


class TestNode:
    HUB = Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token")
    CHOICE = read_choice(answer([], {}, schedulerName="ours"))

    def test_where_the_scheduler_puts_it(self) -> None:
        cluster: Any = FakeCluster(node="worker")
        assert node_for(cluster, self.HUB, self.CHOICE) == "worker"
        assert cluster.done == [f"jupyter: {self.CHOICE.pod['spec']}", "delete"]

    def test_no_node_takes_it(self) -> None:
        cluster: Any = FakeCluster(why="1 node(s) had untolerated taint(s)")
        with pytest.raises(
            NeverError, match=r"image intro, page of its own choice: .* 1 node\(s\) had untolerated taint"
        ):
            node_for(cluster, self.HUB, self.CHOICE)
        assert cluster.done[-1] == "delete"
