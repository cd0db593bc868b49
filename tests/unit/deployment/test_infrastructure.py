"""The steps that bring up all but the hubs: each has nothing to do where a kept copy has it already."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.wait import TooLateError
from harness.deployment.context import BootContext
from harness.deployment.images import RegistryImages
from harness.deployment.infrastructure import (
    HELD,
    PRE_PULLER,
    create_cluster,
    let_pre_pullers_run,
    reuse_or_reset,
    start_services,
)
from harness.deployment.state import State, fingerprints
from harness.host.identity import identity
from harness.plan.plan import Plan
from harness.services.container import Content
from tests.unit.deployment.doubles import PARTS, FakeCluster, context_of
from tests.unit.fakes import FakeDocker, Program

Planner = Callable[..., Plan]
REMADE = [
    "rm --force --volumes {names}",
    "network rm jh-1",
    "network create --label=ol-jupyterhub-harness=jh-1 --label=ol-jupyterhub-harness.checkout={checkout} "
    "--label=ol-jupyterhub-harness.kept=no --label=ol-jupyterhub-harness.identity={identity} "
    "--label=ol-jupyterhub-harness.host={host} jh-1",
]
WANTED, OTHER = (fingerprints({"kind-config.yaml": text, "--mirror": "[]"}) for text in ("wanted", "other"))


def remade(call: str, plan: Plan, names: str = "") -> str:
    about = {"checkout": plan.checkout, "identity": identity(plan.checkout), "host": socket.gethostname()}
    return call.format(names=names, **about)


ANEW = "kept:      cluster jh-1 is replaced, "


class TestReuseOrReset:
    """Whether a kept cluster is used again."""

    def done(self, plan: Plan, steps: Steps, *, kept: str | None, answers: bool = True) -> State:
        known = State(plan.state / "state.json")
        if kept:
            known.set("cluster", kept)
            known.set("images", "as they were")
        plan.secrets.touch()
        reuse_or_reset(
            context_of(plan, steps, SimpleNamespace(answers=lambda: answers, nodes=("jh-1-control-plane",))), WANTED
        )
        return known

    def test_again(self, planned: Planner, steps: Steps, docker: FakeDocker, out: io.StringIO) -> None:
        docker.has(*PARTS)
        plan = planned()
        known = self.done(plan, steps, kept=WANTED)
        assert (plan.state / "secrets.json").exists()
        assert (known.get("cluster"), known.get("images")) == (WANTED, "as they were")
        assert docker.changes == []
        assert out.getvalue() == "kept:      cluster jh-1 is used again, nothing it was made of has changed\n"

    @pytest.mark.parametrize(
        ("kept", "parts", "answers", "output"),
        [
            (OTHER, PARTS, True, f"{ANEW}kind-config.yaml has changed\n"),
            ("a fingerprint as it once was", PARTS, True, f"{ANEW}what it is made of has changed\n"),
            (WANTED, PARTS[:-1], True, f"{ANEW}it is no longer whole: jh-1-postgres not running\n"),
            (WANTED, PARTS, False, f"{ANEW}it is no longer whole: its API server does not answer\n"),
            # Nothing was kept on purpose: a killed run left it.
            (None, PARTS[:2], True, ""),
        ],
        ids=["changed", "older", "part-missing", "no-answer", "killed"],
    )
    def test_anew(
        self,
        planned: Planner,
        steps: Steps,
        docker: FakeDocker,
        out: io.StringIO,
        kept: str | None,
        parts: tuple[str, ...],
        answers: bool,
        output: str,
    ) -> None:
        docker.has(*parts)
        plan = planned()
        known = self.done(plan, steps, kept=kept, answers=answers)
        assert not (plan.state / "secrets.json").exists(), "another cluster gets other passwords"
        assert (known.get("cluster"), known.get("images")) == (None, None)
        names = " ".join(sorted(f"jh-1-{part}" for part in parts))
        assert docker.changes == [remade(call, plan, names) for call in REMADE]
        assert out.getvalue() == output

    def test_a_first_run(self, planned: Planner, steps: Steps, docker: FakeDocker) -> None:
        plan = planned()
        self.done(plan, steps, kept=None)
        assert docker.changes == [remade(REMADE[-1], plan)]


HOLD = f"jupyter/puller on { {HELD: 'true'} }"
STOPPED = """case "$*" in
  "ps "*status=running*) cat "$here/running" ;;
  "ps "*) for part in control-plane worker moto registry keycloak; do printf "jh-1-$part\\tExited\\n"; done ;;
  version*) echo 28 ;;
esac"""
"""A docker that was stopped and started: the containers of run jh-1 are there, and most do not run."""
KEYS = ("cluster", "images", "services", "jupyterhub", "jupyter", "jupyterhub is")


class StoppedCluster(FakeCluster):
    """A cluster whose nodes come back, or do not."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.nodes, self.error = ("jh-1-control-plane", "jh-1-worker"), error
        puller = SimpleNamespace(metadata=SimpleNamespace(name="puller", namespace="jupyter"))

        def pullers(label_selector: str) -> Any:
            return SimpleNamespace(items=[puller] if label_selector == PRE_PULLER else [])

        def patch(name: str, namespace: str, change: Any) -> None:
            self.done.append(f"{namespace}/{name} on {change['spec']['template']['spec']['nodeSelector']}")

        self.apps = SimpleNamespace(list_daemon_set_for_all_namespaces=pullers, patch_namespaced_daemon_set=patch)

    def resume(self, before_pods: Callable[[], None]) -> None:
        self.done.append("resume")
        if self.error:
            raise self.error
        before_pods()


class Killed(BaseException):
    """The end of a process that has no time for anything."""


class TestResume:
    """A kept cluster whose nodes were stopped, such as by a restart of Docker."""

    @pytest.fixture
    def docker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        docker = Program(tmp_path / "bin", "docker", STOPPED)
        (tmp_path / "bin/running").touch()
        return docker

    def stopped(self, plan: Plan, steps: Steps, cluster: StoppedCluster) -> BootContext:
        context = context_of(plan, steps, cluster)
        for key in KEYS:
            context.state.set(key, WANTED)
        reuse_or_reset(context, WANTED)
        return context

    def kept(self, context: BootContext) -> set[str]:
        return {key for key in KEYS if context.state.get(key)}

    @pytest.mark.parametrize("running", ["", "jh-1-worker\njh-1-control-plane\n"], ids=["stopped", "started by Docker"])
    def test_comes_back_with_services_anew(
        self, planned: Planner, steps: Steps, out: io.StringIO, docker: Program, tmp_path: Path, running: str
    ) -> None:
        (tmp_path / "bin/running").write_text(running)
        cluster = StoppedCluster()
        context = self.stopped(planned(), steps, cluster)
        assert self.kept(context) == {*KEYS} - {"images", "services"}
        changes = [call for call in docker.calls if not call.startswith(("ps", "version"))]
        assert changes == ["rm --force --volumes jh-1-keycloak jh-1-moto jh-1-registry"]
        create_cluster(context, WANTED)
        assert cluster.done == ["resume", HOLD]
        assert context.state.get("cluster") == WANTED
        assert "kept cluster: its nodes were stopped, and are back" in out.getvalue()

    def test_pre_pullers_run_again_once_in_this_run_or_a_later_one(
        self, planned: Planner, steps: Steps, docker: Program
    ) -> None:
        cluster, plan = StoppedCluster(), planned()
        create_cluster(self.stopped(plan, steps, cluster), WANTED)
        for _ in range(2):
            let_pre_pullers_run(context_of(plan, steps, cluster))
        assert cluster.done == ["resume", HOLD, f"jupyter/puller on { {HELD: None} }"]

    def test_one_that_was_on_its_way_back_when_its_run_was_killed_is_no_whole_one(
        self, planned: Planner, steps: Steps, docker: Program
    ) -> None:
        context = self.stopped(planned(), steps, StoppedCluster(Killed()))
        with pytest.raises(Killed):
            create_cluster(context, WANTED)
        assert self.kept(context) == {*KEYS} - {"cluster", "images", "services"}

    def test_is_replaced_where_it_does_not_come_back(
        self, planned: Planner, steps: Steps, out: io.StringIO, docker: Program
    ) -> None:
        cluster = StoppedCluster(TooLateError("the API server: refused"))
        context = self.stopped(planned(), steps, cluster)
        context.state.set("services", "started")
        create_cluster(context, OTHER)
        assert f"{ANEW}it does not come back: the API server: refused" in out.getvalue()
        assert docker.calls[-1] == "rm --force --volumes jh-1-control-plane jh-1-worker"
        assert cluster.done == ["resume", "create {'hub_port': 0, 'authoring_port': 0}"]
        assert self.kept(context) == {"cluster", "services"}, "the services are of this boot, the hubs of none"


class TestCreateCluster:
    def test_created_once(self, planned: Planner, steps: Steps) -> None:
        cluster, plan = FakeCluster(), planned(hub_port="8000")
        for _ in range(2):
            context = context_of(plan, steps, cluster)
            create_cluster(context, WANTED)
            assert (context.nodes_exist, context.cluster_ready) == (True, True)
        assert cluster.done == ["create {'hub_port': 8000, 'authoring_port': 0}"]
        assert context.state.get("cluster") == WANTED

    def test_one_that_failed_is_not_taken_for_made(self, planned: Planner, steps: Steps) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise HarnessError("no room")

        context = context_of(planned(), steps, SimpleNamespace(create=refuse))
        with pytest.raises(HarnessError, match="no room"):
            create_cluster(context, WANTED)
        assert context.state.get("cluster") is None
        assert (context.nodes_exist, context.cluster_ready) == (True, False), "it may have nodes, and no API server"


def test_services_are_started_once(planned: Planner, steps: Steps) -> None:
    plan, started = planned(), []

    class FakeServices:
        def __iter__(self) -> Iterator[Any]:
            return iter([SimpleNamespace(TITLE="moto", ON_DEMAND=False)])

        def start(self, images: dict[str, str], content: Content) -> None:
            started.append((images, content.databases))

    artifacts: Any = SimpleNamespace(services={"moto": "image 1"})
    services: Any = FakeServices()
    for _ in range(2):
        start_services(context_of(plan, steps), artifacts, services, RegistryImages())
    assert started == [({"moto": "image 1"}, ("jupyterhub", "jupyterhub_authoring"))]
