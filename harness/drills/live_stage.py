"""A running copy of the deployment, in which drills are planted and taken back."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from rich.console import Console

from harness.base.digest import fingerprint
from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.signals import uninterrupted
from harness.base.timeline import BOOT
from harness.charts.chart import Chart, Release
from harness.charts.helm import Helm
from harness.charts.manifests import Manifest
from harness.courses import images
from harness.deployment import boot, releases, state, teardown
from harness.deployment.gate import ROUTES, gate_routes
from harness.deployment.model import Deployment
from harness.drills.judge import RunTests, SuiteRun
from harness.drills.model import DoesNotApplyError, Drill, RefusedError
from harness.drills.planting import build_changed_image, copy_repository, plant
from harness.drills.pytest_run import evidence_directory, run_tests
from harness.plan.contract import REPOSITORY
from harness.plan.hubs import HUBS, HubSpec
from harness.plan.plan import Plan
from harness.scenarios.user_cleanup import UserCleanup

COURSE = "an-authors-course"
"""Tag of the course of a drill that has one."""


@contextmanager
def open_stage(plan: Plan, steps: Steps, *, keep: bool) -> Iterator[LiveStage]:
    """Boot a deployment for drills; it is removed at the end in every case, or kept for the next run."""
    stage = LiveStage(dataclasses.replace(plan, keep=True), steps)
    try:
        stage.boot()
        try:
            yield stage
        finally:
            if keep:
                stage.forget_images()
                steps.say(f"Kept: {plan.name}. 'tox -e down' removes it.")
    finally:
        if not keep:
            with boot.only_run(plan):
                teardown.remove(plan, steps)


class LiveStage:
    """The private copy of the deployment, with the images that the plan has between two drills.

    Its releases stay as a drill leaves them: the tests of the next bring them up to date, as those of any run on a kept
    copy do. So a hub restarts once for each drill, and not twice.
    """

    def __init__(self, plan: Plan, steps: Steps) -> None:
        self.plan = plan
        self.steps = steps
        self.scratch = plan.state / "drill"
        self._as_planned = False

    def boot(self) -> None:
        """Boot, and remember the deployment as it is without a drill."""
        with boot.only_run(self.plan):
            self.prepared = boot.prepare(self.plan, self.steps)
            self.running = boot.boot(self.plan, self.steps, self.prepared)
        self.rendered = rendered(self.running.chart, self.running.helm, releases.productions(self.plan))
        self.installed = installed(self.running)
        self.digests = digests(self.running)
        self._as_planned = True

    @property
    def system(self) -> str:
        """The deployment in words."""
        chart, theirs = self.running.chart, self.plan.ol_infrastructure
        parts = [f"chart {chart.version}, {chart.origin}", f"spawner {self.plan.spawner.name} from {self._whose()}"]
        return "; ".join([*parts, *([f"{theirs.stack} of {theirs.checkout.name}"] if theirs else [])])

    @property
    def ours(self) -> bool:
        """True if chart, spawner and values are all this checkout's."""
        plan = self.plan
        files = (self.running.chart.path, plan.spawner, *plan.values, *plan.authoring_values)
        return not plan.ol_infrastructure and all(file.is_relative_to(plan.checkout) for file in files)

    def _whose(self) -> str:
        return "this checkout" if self.plan.spawner.is_relative_to(self.plan.checkout) else "elsewhere"

    def fingerprint_of(self, drill: Drill) -> str:
        """Return the fingerprint of a drill and of the deployment that it is planted in."""
        plan = self.plan
        gate = [plan.gate or plan.checkout / ROUTES] if drill.gate.paths else []
        files = [self.running.chart.path, plan.spawner, *plan.values, *plan.authoring_values, *gate]
        replaced = [json.dumps(releases.replaced_values(plan, hub_spec)) for hub_spec in HUBS]
        return fingerprint([drill.written, *files, *replaced])

    def plant(self, drill: Drill) -> RunTests:
        """Make a drill's change, and return what runs tests with it in place.

        Raises:
            DoesNotApplyError: the deployment lacks what it changes.
            RefusedError: the chart refuses the change.
            HarnessError: it changes nothing.
        """
        changed = plant(drill, self.plan, self.running.chart, self.scratch)
        evidence = evidence_directory(self.plan, drill)
        if drill.course:
            repositories = images.repositories(self.plan.checkout / "courses")
            repository = copy_repository(drill.course, repositories, self.scratch / COURSE)
            changed = dataclasses.replace(changed, course_sources={COURSE: str(repository)})
        elif not self._plant_images(drill) | self._differs(changed, drill):
            raise HarnessError(f"{drill.where}: it leaves the system as it was")

        def run(tests: Sequence[str], timeout: float) -> SuiteRun:
            found = run_tests(changed, tests, evidence, timeout)
            if found.boot and not self._as_planned and BOOT not in drill.caught_by and not self._images_changed():
                # Kubernetes may refuse the step from the drill before to this one.
                self._bring_back_or_make_anew()
                found = run_tests(changed, tests, evidence, timeout)
            self._as_planned = False
            return found

        return run

    def _differs(self, changed: Plan, drill: Drill) -> bool:
        """Return True if the changed plan makes other releases than the stage's own.

        Raises:
            RefusedError: the chart refuses the changed values.
        """
        if drill.gate.paths and gate_routes(changed) != gate_routes(self.plan):
            return True
        if dataclasses.replace(changed, spawner=self.plan.spawner, gate=self.plan.gate) == self.plan:
            # Each release has its text as it is; to see that in what Helm renders takes seconds.
            return changed.spawner.read_bytes() != self.plan.spawner.read_bytes()
        chart = releases.find_chart(changed, self.running.helm) if drill.chart else self.running.chart
        before, after = releases.productions(self.plan), releases.productions(changed)
        touched = {hub_spec: each for hub_spec, each in after.items() if drill.chart or each != before[hub_spec]}
        try:
            now = rendered(chart, self.running.helm, touched)
        except HarnessError as error:
            raise RefusedError(str(error)) from error
        return any(objects != self.rendered[hub_spec] for hub_spec, objects in now.items())

    def _plant_images(self, drill: Drill) -> bool:
        """Change the registry's images; returns True if they differ then."""
        running, registry = self.running, self.running.registry
        repositories = images.course_repositories(self.plan)
        for tag, layout in build_changed_image(drill, running.builder, repositories, self.scratch).items():
            registry.push(layout, REPOSITORY, tag)
        for tag in (*drill.deleted_tags, *drill.moved_tags.values()):
            if tag not in self.digests:
                raise DoesNotApplyError(f"the registry has no image {tag}")
        for tag in drill.deleted_tags:
            registry.remove(tag)
        for tag, other in drill.moved_tags.items():
            registry.push(running.course_image(other), REPOSITORY, tag)
        touched = drill.image or drill.deleted_tags or drill.moved_tags
        return bool(touched) and digests(running) != self.digests

    def restore(self) -> None:
        """Take back what the tests of the next drill do not: images, and all of a deployment whose hubs do not answer.

        Raises:
            HarnessError: neither that nor making the deployment anew is possible.
        """
        if self._images_changed() or not self._hubs_answer():
            self._bring_back_or_make_anew()

    def _images_changed(self) -> bool:
        return digests(self.running) != self.digests

    def _hubs_answer(self) -> bool:
        try:
            return all(hub.version() for hub in (self.running.student, self.running.authoring))
        except httpx.HTTPError:
            return False

    def _bring_back_or_make_anew(self) -> None:
        try:
            self._bring_back()
        except (HarnessError, httpx.HTTPError) as error:
            self.steps.say(f"It is not as it was, and made anew: {error}")
            with boot.only_run(self.plan), uninterrupted(self.plan.name, self.steps.say) as told_to_end:
                teardown.remove(self.plan, self.steps)
            if told_to_end():
                raise KeyboardInterrupt from error
            self.boot()

    def forget_images(self) -> None:
        """Have the next boot push every image again."""
        state.State(self.plan.state / state.STATE).forget("images")

    def _bring_back(self) -> None:
        if self._images_changed():
            self.forget_images()
        with boot.only_run(self.plan), self._without_users():
            # The first boot has shown its steps already.
            running = boot.boot(self.plan, Steps(Console(file=io.StringIO())), self.prepared)
        for tag in digests(running).keys() - self.digests.keys():
            # Of a course that a drill's values named.
            running.registry.remove(tag)
        if changed := digests(running).items() ^ self.digests.items():
            tags = ", ".join(sorted({tag for tag, _ in changed}))
            raise HarnessError(f"the registry does not hold what it did of {tags}")
        for name, objects in installed(running).items():
            if objects != self.installed[name]:
                raise HarnessError(f"release {name} is not what it was")
        self.running = running
        self._as_planned = True

    @contextmanager
    def _without_users(self) -> Iterator[None]:
        """Delete the users that a failed test left; they are gone when the context closes."""
        hubs = (self.running.student, self.running.authoring)
        leaving = UserCleanup(self.running.cluster)
        try:
            # A hub that the drill has broken answers only when it is brought back.
            with contextlib.suppress(httpx.HTTPError):
                for hub in hubs:
                    for name in hub.users():
                        leaving.add(hub, name)
            yield
            leaving.wait()
            for hub in hubs:
                for name in hub.users():
                    hub.delete_user(name)
        finally:
            leaving.close()


def rendered(chart: Chart, helm: Helm, wanted: Mapping[HubSpec, Release]) -> dict[HubSpec, list[Manifest]]:
    """Render releases as production would have them: without what kind needs otherwise.

    Raises:
        HarnessError: the chart refuses the values.
    """
    return {hub_spec: comparable(each) for hub_spec, each in releases.templates(helm, chart, wanted).items()}


def comparable(objects: Iterable[Manifest]) -> list[Manifest]:
    """Return rendered objects without what is random in each rendering: generated secrets, and digests of them."""
    random = {"Secret": ("checksum/", "hub.config.")}
    return [_without(random.get(each["kind"], ("checksum/",)), each) for each in objects]


def installed(running: Deployment) -> dict[str, list[Manifest]]:
    """Return the objects of each release, as the cluster's store of releases has them, by the release's name.

    Digests of other objects are left out, since these are compared themselves: at a first install, where there is no
    secret to look up yet, upstream's chart draws one for the Secret and another for the digest.
    """
    return {
        release.name: [_without(("checksum/",), each) for each in running.helm.installed(release)]
        for release in running.releases.values()
    }


def _without(beginnings: tuple[str, ...], found: Any) -> Any:
    """Return a copy of an object without the keys that begin so, however deep they are."""
    if isinstance(found, list):
        return [_without(beginnings, each) for each in found]
    if not isinstance(found, dict):
        return found
    return {key: _without(beginnings, value) for key, value in found.items() if not key.startswith(beginnings)}


def digests(running: Deployment) -> dict[str, str]:
    """Digest of each course image in the registry, by tag."""
    return {tag: running.registry.digest(tag) for tag in sorted(running.registry.tags())}
