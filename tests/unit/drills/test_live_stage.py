"""The running copy in which drills are planted, with nothing real behind it."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.timeline import BOOT
from harness.charts.chart import Release
from harness.deployment import boot, state, teardown
from harness.drills import live_stage
from harness.drills.judge import SuiteFailure, SuiteRun
from harness.drills.live_stage import LiveStage, comparable
from harness.drills.model import (
    Addition,
    DoesNotApplyError,
    Drill,
    RefusedError,
    Replacement,
    RepositoryChange,
    ValueChanges,
)
from harness.drills.pytest_run import pytest_options
from harness.plan.hubs import HUBS, STUDENT
from harness.plan.plan import Plan
from tests.unit.drills.examples import (
    CHECKOUT,
    PASSED,
    REGRESSION,
)


class FakeRegistry:
    """Course images by tag; an image's digest is the name of its layout."""

    def __init__(self, **images: str) -> None:
        self.images = images

    def tags(self) -> set[str]:
        return set(self.images)

    def digest(self, tag: str) -> str:
        return self.images[tag]

    def push(self, layout: str, repository: str, tag: str) -> None:
        self.images[tag] = layout

    def remove(self, tag: str) -> None:
        del self.images[tag]


class FakeHelm:
    """Renders and installs what the values say, and refuses a value that is called refused."""

    def __init__(self) -> None:
        self.objects = [manifest_of("password", digest="one")]
        self.rendered: list[str] = []

    def template(self, chart: Any, release: Release) -> list[dict[str, Any]]:
        self.rendered.append(release.name)
        values = [json.loads(file.read_text()) for file in release.values if file.suffix == ".yaml" and _json(file)]
        if any("refused" in each for each in values):
            raise HarnessError("values rejected")
        spawner = [file.read_text() for file in release.set_files.values()]
        return [{"kind": "ConfigMap", "values": values, "spawner": spawner}]

    def installed(self, release: Release) -> list[dict[str, Any]]:
        return self.objects


def manifest_of(secret: str, *, digest: str) -> dict[str, Any]:
    return {
        "kind": "Secret",
        "metadata": {"annotations": {"checksum/secret": digest}},
        "data": {"hub.config.a": secret},
    }


def _json(file: Path) -> bool:
    return file.read_text().startswith("{")


class TestStage:
    """The deployment that drills are planted in, with nothing real behind it."""

    @pytest.fixture
    def live(self, plan: Plan, steps: Steps, monkeypatch: pytest.MonkeyPatch) -> LiveStage:
        running: Any = SimpleNamespace(
            chart=SimpleNamespace(path=CHECKOUT / "helm/jupyterhub", version="1", origin="built-in"),
            helm=FakeHelm(),
            registry=FakeRegistry(a="image of a", b="image of b"),
            releases={role: SimpleNamespace(name=role.release) for role in HUBS},
            course_image=lambda tag: f"image of {tag}",
            builder=None,
            cluster=None,
            student=SimpleNamespace(users=dict, version=self.version),
            authoring=SimpleNamespace(users=dict, version=lambda: "5"),
        )
        self.boots: list[Plan] = []
        self.answers = True

        known = state.State(plan.state / state.STATE)

        def booted(plan: Plan, steps: Steps, prepared: object) -> Any:
            assert prepared == "prepared"
            self.boots.append(plan)
            if not state.State(plan.state / state.STATE).get("images"):
                running.registry.images |= {"a": "image of a", "b": "image of b"}
            known.set("images", "pushed")
            return running

        monkeypatch.setattr(boot, "prepare", lambda plan, steps: "prepared")
        monkeypatch.setattr(boot, "boot", booted)
        monkeypatch.setattr(teardown, "remove", lambda plan, steps: setattr(running, "helm", FakeHelm()))
        plan.state.mkdir()
        made = LiveStage(plan, steps)
        made.boot()
        return made

    def version(self) -> str:
        if not self.answers:
            raise httpx.ConnectError("refused")
        return "5"

    def drill(self, **changes: Any) -> Drill:
        return dataclasses.replace(REGRESSION, **changes)

    def test_a_change_of_values_is_what_the_tests_run_on(
        self, live: LiveStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = live.plant(self.drill(values={STUDENT: ValueChanges({"cull.every": 5})}))
        plans: list[Plan] = []

        def run_tests(plan: Plan, *_: object) -> SuiteRun:
            plans.append(plan)
            return PASSED

        monkeypatch.setattr(live_stage, "run_tests", run_tests)
        assert run(["a"], 1) is PASSED
        assert json.loads(plans[0].values[0].read_text())["cull"]["every"] == 5

    def test_an_authors_course_is_handed_to_the_tests(self, live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
        """The tests of a drill get a changed copy of the template as their --course."""
        change = RepositoryChange("template", (Addition("WORKDIR /opt"),), {"a.ipynb": "{}"})
        run = live.plant(self.drill(course=change))
        given: list[str] = []

        def run_tests(plan: Plan, *_: object) -> SuiteRun:
            given.extend(each for each in pytest_options(plan) if each.startswith("--course="))
            return PASSED

        monkeypatch.setattr(live_stage, "run_tests", run_tests)
        run(["a"], 1)
        [option] = given
        tag, repository = option.removeprefix("--course=").split("=")
        assert (tag, (Path(repository) / "a.ipynb").read_text()) == (live_stage.COURSE, "{}")
        assert (Path(repository) / "Dockerfile").read_text().endswith("WORKDIR /opt\n")

    def test_a_change_that_changes_nothing(self, live: LiveStage) -> None:
        with pytest.raises(HarnessError, match="it leaves the system as it was"):
            live.plant(self.drill(moved_tags={"a": "a"}))

    def test_only_what_the_change_may_touch_is_rendered(self, live: LiveStage) -> None:
        helm: Any = live.running.helm
        helm.rendered.clear()
        live.plant(self.drill(values={STUDENT: ValueChanges({"cull.every": 5})}))
        assert helm.rendered == [STUDENT.release]
        live.plant(self.drill(spawner=(Replacement(('"expires_days": 1',), ('"expires_days": 9',)),)))
        assert helm.rendered == [STUDENT.release], "the text of a spawner is in each release as it is"
        with pytest.raises(HarnessError, match="it leaves the system as it was"):
            live.plant(self.drill(spawner=(Replacement(('"expires_days": 1',), ('"expires_days": 1',)),)))

    def test_a_change_that_the_chart_refuses(self, live: LiveStage) -> None:
        with pytest.raises(RefusedError, match="values rejected"):
            live.plant(self.drill(values={STUDENT: ValueChanges({"refused": 1})}))

    def test_whose_it_is(self, live: LiveStage, tmp_path: Path) -> None:
        assert live.ours
        live.plan = dataclasses.replace(live.plan, spawner=tmp_path / "spawner.py")
        assert not live.ours

    def test_images_come_and_go_and_are_brought_back(self, live: LiveStage) -> None:
        registry: Any = live.running.registry
        live.plant(self.drill(deleted_tags=("a",), moved_tags={"b": "a"}))
        assert registry.images == {"b": "image of a"}
        # What a drill's values name is pushed by the boot.
        registry.images["new"] = "image of new"
        live.restore()
        assert registry.images == {"a": "image of a", "b": "image of b"}
        assert self.boots[-1] == live.plan
        with pytest.raises(DoesNotApplyError, match="no image c"):
            live.plant(self.drill(deleted_tags=("c",)))

    def test_releases_are_left_to_the_next_drill(self, live: LiveStage) -> None:
        live.restore()
        assert len(self.boots) == 1

    def test_a_hub_that_does_not_answer_is_brought_back(self, live: LiveStage) -> None:
        self.answers = False
        live.restore()
        assert self.boots[1:] == [live.plan]

    @pytest.mark.parametrize(("caught_by", "boots"), [(("test_a.py::test_a",), 2), ((BOOT,), 1)])
    def test_a_step_that_is_refused_is_made_from_the_plan(
        self, live: LiveStage, monkeypatch: pytest.MonkeyPatch, caught_by: tuple[str, ...], boots: int
    ) -> None:
        """The tests of a drill run again on the deployment as planned, if the change before may be why it fails."""
        refused = SuiteRun(boot=SuiteFailure(BOOT, "field is immutable"))
        runs = [PASSED, refused, PASSED]
        monkeypatch.setattr(live_stage, "run_tests", lambda *_: runs.pop(0))
        values = {STUDENT: ValueChanges({"cull.every": 5})}
        live.plant(self.drill(values=values))([], 1)
        live.restore()
        found = live.plant(self.drill(values=values, caught_by=caught_by))([], 1)
        assert (found is PASSED, len(self.boots)) == (boots == 2, boots)

    def test_a_boot_that_fails_on_the_deployment_as_planned(
        self, live: LiveStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refused = SuiteRun(boot=SuiteFailure(BOOT, "no hub"))
        monkeypatch.setattr(live_stage, "run_tests", lambda *_: refused)
        assert live.plant(self.drill(values={STUDENT: ValueChanges({"cull.every": 5})}))([], 1) is refused
        assert len(self.boots) == 1

    def test_what_cannot_be_brought_back_is_made_anew(self, live: LiveStage) -> None:
        self.answers = False
        helm: Any = live.running.helm
        helm.objects = [manifest_of("another password", digest="one")]
        live.restore()
        assert len(self.boots) == 3

    def test_a_run_that_is_told_to_end_makes_nothing_anew(
        self, live: LiveStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.answers = False
        helm: Any = live.running.helm
        helm.objects = [manifest_of("another password", digest="one")]
        monkeypatch.setattr(teardown, "remove", lambda plan, steps: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            live.restore()
        assert len(self.boots) == 2

    def test_another_digest_of_the_same_is_no_difference(self, live: LiveStage) -> None:
        self.answers = False
        helm: Any = live.running.helm
        helm.objects = [manifest_of("password", digest="another")]
        live.restore()
        assert len(self.boots) == 2


class TestComparable:
    def test_what_is_random_does_not_count(self) -> None:
        def objects(random: str, value: str) -> list[dict[str, Any]]:
            return [
                {"kind": "Secret", "data": {"hub.config.JupyterHub.cookie_secret": random, "values.yaml": value}},
                {"kind": "Deployment", "spec": [{"annotations": {"checksum/secret": random}}]},
            ]

        assert comparable(objects("a", "b")) == comparable(objects("c", "b"))
        assert comparable(objects("a", "b")) != comparable(objects("a", "c"))
