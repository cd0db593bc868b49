"""The images that the run's registry holds: those of courses, and where nothing is published the chart's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.artifacts.model import Artifacts
from harness.artifacts.oci import OciImage
from harness.artifacts.resolve import get_named
from harness.base.errors import EnvironmentFault
from harness.charts import manifests
from harness.charts.manifests import Manifest
from harness.charts.values import image_keys, merge_values
from harness.courses.images import course_builder, course_repositories
from harness.deployment.context import BootContext
from harness.deployment.model import Deployment
from harness.deployment.state import describe_changes, fingerprints
from harness.plan.contract import COURSE_REPOSITORY, ECR
from harness.plan.plan import REGISTRIES
from harness.services.registry import Registry, split


@dataclass(frozen=True)
class RegistryImages:
    """The images that the registry has to serve.

    Attributes:
        charts: images that the chart runs, by their full names; none where nodes pull the published ones.
        courses: images of courses, by tag.
        versions: the same again, by the additional tag that the build job gives a course's version.
    """

    charts: Mapping[str, OciImage] = field(default_factory=dict)
    courses: Mapping[str, OciImage] = field(default_factory=dict)
    versions: Mapping[str, OciImage] = field(default_factory=dict)

    @property
    def by_name(self) -> dict[str, OciImage]:
        """All of them, by their full names."""
        tagged = {**self.courses, **self.versions}
        return {**self.charts, **{f"{COURSE_REPOSITORY}:{tag}": image for tag, image in tagged.items()}}

    @property
    def hosts(self) -> set[str]:
        """Registries whose names lead to the run's own: a real account is never asked."""
        return {ECR, *(split(name)[0] for name in self.charts)}


def build_courses(context: BootContext, artifacts: Artifacts, tags: list[str]) -> dict[str, OciImage]:
    """Build the image of each course, by tag.

    Raises:
        HarnessError: a course's repository does not build.
    """
    with context.steps.step("course images") as step:
        repositories = course_repositories(context.plan)
        images = course_builder(context.plan, artifacts).images(tags, repositories)
        own = [tag for tag in tags if tag in repositories]
        step.done(f"{len(tags)}, of which {' '.join(own) or 'none'} from a repository of its own")
    return images


def make_images(
    context: BootContext,
    artifacts: Artifacts,
    rendered: Iterable[list[Manifest]],
    build: Callable[[BootContext, Artifacts, list[str]], Mapping[str, OciImage]] = build_courses,
    values: Iterable[tuple[Path, ...]] = (),
) -> RegistryImages:
    """Make the images that rendered releases name and that the registry has to serve.

    Args:
        build: returns the images of courses, by tag.
        values: values files of each release, the chart's own first: the key of an image that cannot be made is named.

    Raises:
        EnvironmentFault: the chart runs an image that is not among those that can be built.
        HarnessError: a course's repository does not build.
    """
    wanted = set().union(*map(manifests.images, rendered))
    published = {name for name in wanted if not name.startswith(f"{ECR}/")}
    charts = built_images(context, artifacts, published, values) if artifacts.images else {}
    tags = sorted(name.removeprefix(f"{COURSE_REPOSITORY}:") for name in wanted - published)
    courses = build(context, artifacts, tags)
    versions = {version: courses[course.tag] for course in context.plan.courses for version in course.tags}
    return RegistryImages(charts, courses, versions)


def built_images(
    context: BootContext, artifacts: Artifacts, names: Iterable[str], values: Iterable[tuple[Path, ...]] = ()
) -> dict[str, OciImage]:
    """Return what is built in the place of images that the chart runs, by their full names.

    Args:
        values: as `make_images` takes them.

    Raises:
        EnvironmentFault: one of them is not among those that can be built.
    """
    repositories = {name: name.rpartition(":")[0] for name in names}
    named = get_named(set(repositories.values()) - artifacts.images.keys(), context.plan.cache, context.steps)
    known = {**artifacts.images, **named}
    if unknown := sorted(name for name, repository in repositories.items() if repository not in known):
        keys = dict.fromkeys(key for files in values for key in image_keys(merge_values(files), unknown[0]))
        raise EnvironmentFault(
            f"The chart runs {unknown[0]} ({' and '.join(keys) or 'which none of the values names'}), and --artifacts "
            "build does not make that image: the run ends and has no verdict about the deployment.\n"
            "Give --artifacts pull where its registry can be reached, or values that leave the image out (--values)."
        )
    return {name: known[repository] for name, repository in repositories.items()}


def push_images(context: BootContext, registry: Registry, images: RegistryImages) -> None:
    """Push the images, and resolve their names to the registry inside the nodes; nothing to push where none changed."""
    mirrors = {host: place for host, place in context.plan.mirrors.items() if host in REGISTRIES}
    registry.resolve_in_nodes(context.cluster.certs, images.hosts, mirrors)
    wanted = fingerprints({f"image {name}": image.digest for name, image in images.by_name.items()})
    before = context.state.get("images")
    if before == wanted:
        return
    if before:
        context.steps.say(f"{'kept:':<11}images are pushed again, {describe_changes(before, wanted)}")
    # What fails half-way is neither what was there nor what was to be there.
    context.state.forget("images")
    with context.steps.step("images into the registry") as step:
        for name, image in images.by_name.items():
            context.steps.go_on()
            _, repository, tag = split(name)
            registry.push(image, repository, tag)
        step.done(f"{len(images.courses)} courses, and {len(images.charts)} of the chart's own")
    context.state.set("images", wanted)


def push_addons(running: Deployment, built: Mapping[str, OciImage]) -> None:
    """Push the images of add-ons, by their published names, and have the nodes find them in the registry."""
    for name, image in built.items():
        _, repository, tag = split(name)
        running.registry.push(image, repository, tag)
    if built:
        running.registry.resolve_in_nodes(running.cluster.certs, {split(name)[0] for name in built}, {})
