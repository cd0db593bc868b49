"""A copy of the deployment, and what it is made of."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from harness.artifacts.model import Artifacts
from harness.artifacts.oci import OciImage
from harness.base.shell import CommandError
from harness.charts.chart import Chart, Release
from harness.charts.helm import Helm
from harness.charts.manifests import Manifest
from harness.cluster.kind import Cluster
from harness.courses import images as courses
from harness.courses.images import CourseBuilder, course_builder, course_repositories
from harness.deployment.releases import productions, templates
from harness.hub.api import Hub
from harness.plan.hubs import AUTHORING, STUDENT, HubSpec
from harness.plan.plan import Plan
from harness.services.aws import Aws
from harness.services.container import Services
from harness.services.postgres import Postgres
from harness.services.registry import Registry

NO_POLICIES = "network policies: no test of this run asks for what enforces them"
"""Sentence of what is not checked in a copy whose nodes' network leaves policies alone, until a test asks for more."""
NO_GATE = "the gate in front of the hubs: no test of this run asks for it"
"""Sentence of what is not checked, until a test has the gate."""


@dataclass(frozen=True)
class Prepared:
    """The parts of a copy of the deployment, of which nothing runs yet.

    Attributes:
        kubernetes: the version of Kubernetes.
    """

    artifacts: Artifacts
    kubernetes: str
    helm: Helm
    chart: Chart

    def production(self, plan: Plan) -> dict[HubSpec, list[Manifest]]:
        """Render the releases as production would have them: without what kind needs otherwise.

        Raises:
            EnvironmentFault, HarnessError: as `releases.templates`.
        """
        return templates(self.helm, self.chart, productions(plan))


@dataclass(frozen=True)
class Deployment:
    """A copy of the deployment, and all of its parts.

    Attributes:
        objects: of each release, as it is rendered.
    """

    plan: Plan
    artifacts: Artifacts
    chart: Chart
    helm: Helm
    releases: Mapping[HubSpec, Release]
    objects: Mapping[HubSpec, list[Manifest]]
    cluster: Cluster
    services: Services
    student: Hub
    authoring: Hub

    @property
    def registry(self) -> Registry:
        """The private registry."""
        return self.services[Registry]

    @property
    def aws(self) -> Aws:
        """AWS, played by moto."""
        return self.services[Aws]

    @property
    def database(self) -> Postgres:
        """Postgres."""
        return self.services[Postgres]

    def hub(self, hub_spec: HubSpec) -> Hub:
        """Return one of the hubs."""
        return {STUDENT: self.student, AUTHORING: self.authoring}[hub_spec]

    @property
    def builder(self) -> CourseBuilder:
        """The builder of course images."""
        return course_builder(self.plan, self.artifacts)

    def course_image(self, tag: str) -> OciImage:
        """Build the image of a course, from its repository or from the base image, unless it is there."""
        return self.builder.images([tag], course_repositories(self.plan))[tag]

    def ask_versions(self) -> dict[str, str]:
        """Ask the cluster for its version, and return it beside chart and spawner; left out if it gives no answer."""
        found = {"chart": f"{self.chart.version}, {self.chart.origin}", "spawner": self.plan.spawner.name}
        with contextlib.suppress(CommandError):
            answer = json.loads(self.cluster.kubectl("version", "--output=json"))
            found["Kubernetes"] = answer["serverVersion"]["gitVersion"]
        return found

    @property
    def unchecked(self) -> list[str]:
        """Parts of production that this copy cannot show, each with its reason."""
        reasons = [
            NO_GATE,
            "a GPU at work: here it is a capacity patched onto a node",
            "Vault's new credentials for the database every few months: here they stay as they are",
        ]
        if self.artifacts.images:
            reasons.append(NO_POLICIES)
            reasons += [
                f"course {course.tag} on {image}: no registry was in reach, and it was built on our notebook image"
                for course in self.plan.courses
                for image in courses.replaced_bases(course.path)
            ]
        return reasons
