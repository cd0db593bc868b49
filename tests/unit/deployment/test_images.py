"""The images that the registry holds: those that rendered releases name, pushed again when one has changed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import EnvironmentFault
from harness.base.progress import Steps, StoppedError
from harness.deployment.images import RegistryImages, built_images, make_images, push_images
from harness.plan.contract import COURSE_REPOSITORY, ECR
from harness.plan.plan import Plan
from tests.unit.deployment.doubles import context_of

Planner = Callable[..., Plan]
HUB = "quay.io/jupyterhub/k8s-hub"


def image(digest: str) -> Any:
    return SimpleNamespace(digest=digest)


class FakeRegistry:
    """A registry that writes down what is asked of it."""

    def __init__(self) -> None:
        self.pushed: list[str] = []
        self.hosts: set[str] = set()

    def push(self, layout: Any, repository: str, tag: str) -> None:
        self.pushed.append(f"{layout.digest} to {repository}:{tag}")

    def resolve_in_nodes(self, certs: Path, hosts: set[str], mirrors: dict[str, str]) -> None:
        self.hosts, self.mirrors = hosts, mirrors


class TestPush:
    @pytest.fixture
    def push(self, planned: Planner, steps: Steps) -> Callable[..., list[str]]:
        """Pushes images and returns what reached the registry."""
        plan = planned(mirror=["quay.io=here.example", "tools=there.example"])

        def push(**images: Any) -> list[str]:
            registry: Any = FakeRegistry()
            self.registry = registry
            push_images(context_of(plan, steps, SimpleNamespace(certs=plan.state)), registry, RegistryImages(**images))
            return list(registry.pushed)

        return push

    def test_each_by_its_name(self, push: Callable[..., list[str]], out: io.StringIO) -> None:
        pushed = push(charts={f"{HUB}:1": image("a")}, courses={"poetry": image("b")}, versions={"v1": image("b")})
        repository = COURSE_REPOSITORY.removeprefix(f"{ECR}/")
        assert pushed == ["a to jupyterhub/k8s-hub:1", f"b to {repository}:poetry", f"b to {repository}:v1"]
        assert self.registry.hosts == {ECR, "quay.io"}
        assert self.registry.mirrors == {"quay.io": "here.example"}, "a mirror of tools is none of a node's"
        assert out.getvalue().endswith("images into the registry: 1 courses, and 1 of the chart's own\n")

    def test_nothing_to_push_where_nothing_changed(self, push: Callable[..., list[str]], out: io.StringIO) -> None:
        assert len(push(courses={"poetry": image("b")})) == 1
        assert push(courses={"poetry": image("b")}) == []
        assert self.registry.hosts == {ECR}
        assert len(push(courses={"poetry": image("c")})) == 1
        line = f"kept:      images are pushed again, image {COURSE_REPOSITORY}:poetry has changed\n"
        assert line in out.getvalue()

    def test_a_push_that_ends_half_way_is_done_again(self, planned: Planner, steps: Steps) -> None:
        plan = planned()
        context = context_of(plan, steps, SimpleNamespace(certs=plan.state))
        context.state.set("images", "as they were")
        steps.stop()
        with pytest.raises(StoppedError):
            push_images(context, FakeRegistry(), RegistryImages(courses={"poetry": image("b")}))  # type: ignore[arg-type]  # a fake
        assert context.state.get("images") is None


def test_images_of_the_chart_are_left_to_the_nodes_where_they_are_published(planned: Planner, steps: Steps) -> None:
    rendered = [[{"kind": "Pod", "spec": {"containers": [{"image": f"{HUB}:1"}]}}]]
    artifacts: Any = SimpleNamespace(images={}, notebook="notebook")
    images = make_images(context_of(planned(), steps), artifacts, rendered, lambda *_: {})
    assert images.by_name == {}
    artifacts.images = {HUB: image("a")}
    images = make_images(context_of(planned(), steps), artifacts, rendered, lambda *_: {})
    assert images.by_name == {f"{HUB}:1": image("a")}


def test_courses_are_those_that_the_releases_name(planned: Planner, steps: Steps) -> None:
    rendered = [[{"kind": "Pod", "spec": {"containers": [{"image": f"{COURSE_REPOSITORY}:{tag}"}]}}] for tag in "ba"]
    artifacts: Any = SimpleNamespace(images={}, notebook="notebook")
    images = make_images(
        context_of(planned(), steps), artifacts, rendered, lambda _, __, tags: {tag: image(tag) for tag in tags}
    )
    assert list(images.courses) == ["a", "b"]


def test_an_image_that_is_not_made_is_no_verdict_about_the_deployment(
    planned: Planner, steps: Steps, tmp_path: Path
) -> None:
    made: Any = SimpleNamespace(images={HUB: image("a")})
    context = context_of(planned(), steps)
    assert built_images(context, made, [f"{HUB}:4.4.1"]) == {f"{HUB}:4.4.1": image("a")}
    chart, values = tmp_path / "chart.yaml", tmp_path / "values.yaml"
    chart.write_text("proxy: {traefik: {image: {name: nginx, tag: '1'}}}\n")
    values.write_text("""
        proxy: {traefik: {image: {name: docker.io/nginx}}}
        hub: {extraContainers: [{image: "sidecar:2"}]}
    """)
    with pytest.raises(EnvironmentFault) as error:
        built_images(context, made, ["docker.io/nginx:1", f"{HUB}:4.4.1"], [(chart, values)])
    assert str(error.value) == (
        "The chart runs docker.io/nginx:1 (proxy.traefik.image), and --artifacts build does not make that image: "
        "the run ends and has no verdict about the deployment.\n"
        "Give --artifacts pull where its registry can be reached, or values that leave the image out (--values)."
    )
    with pytest.raises(EnvironmentFault, match=r"sidecar:2 \(hub\.extraContainers\[0\]\.image\)"):
        built_images(context, made, ["sidecar:2"], [(chart, values)])
    with pytest.raises(EnvironmentFault, match=r"busybox:1 \(which none of the values names\)"):
        built_images(context, made, ["busybox:1"], [(chart, values)])
