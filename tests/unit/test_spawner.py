"""Asking the deployed spawner: what is asked, what is read from the pod, and the pod that asks."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import HarnessError
from harness.placeholders import to_bytes
from harness.spawner import Choice, Request, known_courses, pod_beside, read_choice

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
            ({"affinity": terms([ON_GPU_NODE, ELSEWHERE])}, True),
            ({"affinity": terms([ON_GPU_NODE], [ELSEWHERE])}, False),
            ({"affinity": terms([ELSEWHERE])}, False),
            ({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}}, False),
        ],
        ids=["selector", "both", "either", "elsewhere", "preferred"],
    )
    def test_bound_to_the_gpu_node(self, spec: dict[str, Any], bound: bool) -> None:
        assert read_choice(answer([], {}, **spec)).on_gpu_node is bound


def test_known_courses() -> None:
    """Known is what gets an image of its own; what an error hides is neither."""
    choices = {name: Choice(image=f"courses:{tag}") for name, tag in {"a": "a", "b": "base"}.items()}
    assert known_courses(choices) == {"a"}
    with pytest.raises(HarnessError, match=r"\AThe spawner fails for courses: c: KeyError\Z"):
        known_courses({**choices, "c": Choice(error="KeyError")})


def test_pod_beside_the_hub() -> None:
    """It has the hub's configuration, runs nothing, and no Service or Deployment takes it for the hub."""
    hub = {"name": "hub", "image": "hub:1", "args": ["jupyterhub"], "env": [{"name": "A", "value": "b"}]}
    probes = {"readinessProbe": {}, "livenessProbe": {}, "resources": {"limits": {"memory": "256Mi"}}}
    template: dict[str, Any] = {
        "metadata": {"labels": {"component": "hub"}},
        "spec": {"containers": [{**hub, **probes}], "volumes": [{"name": "config"}], "serviceAccountName": "hub"},
    }
    pod = pod_beside(template, "asks")
    assert pod["metadata"] == {"name": "asks", "labels": {"harness": "asks"}}
    assert pod["spec"]["volumes"] == [{"name": "config"}]
    assert pod["spec"]["serviceAccountName"] == "hub"
    [container] = pod["spec"]["containers"]
    expected = {"name": "hub", "image": "hub:1", "command": ["sleep", "infinity"], "env": hub["env"]}
    assert container == expected
    assert "args" in template["spec"]["containers"][0], "the hub's own Deployment was changed"


@pytest.mark.parametrize(
    ("quantity", "number"), [("0", 0), ("64Mi", 2**26), ("4G", 4e9), ("1.5Gi", 1.5 * 2**30), ("100m", 0.1)]
)
def test_quantity(quantity: str, number: float) -> None:
    assert to_bytes(quantity) == pytest.approx(number)


def test_no_quantity() -> None:
    with pytest.raises(ValueError, match="'4 GB' is no quantity"):
        to_bytes("4 GB")
