"""Course images: built of their repositories, or of the notebook image, one for each known course."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.artifacts.dockerfile import NAMESPACE, build_image, local_images, on_base
from harness.artifacts.model import Artifacts
from harness.artifacts.oci import OciImage, OciStore
from harness.base.digest import fingerprint
from harness.base.files import read_text
from harness.host.docker import docker
from harness.plan.plan import Plan

MARKER = "/etc/ol-course"
"""File in every course image that holds the course's tag: what proves, read through the kernel, which image runs."""


def repositories(directory: Path) -> dict[str, Path]:
    """Return the course repositories in a directory, by tag: the name of each one's own directory."""
    return {path.name: path for path in sorted(directory.iterdir()) if (path / "Dockerfile").is_file()}


def replaced_bases(repository: Path) -> list[str]:
    """Return the images that a repository's Dockerfile names and that a build without a registry replaces."""
    return on_base(read_text(repository / "Dockerfile", "course"), "")[1]


@dataclass(frozen=True)
class CourseBuilder:
    """Builds the images of courses, as the build job's `docker build` does, each once.

    Attributes:
        base: the local Docker image that courses are built on; a course without a repository is this and its marker.
        offline: no registry is in reach, so that a course is built on `base` whatever its Dockerfile names.
    """

    store: OciStore
    base: str
    offline: bool

    def images(self, tags: Iterable[str], own: Mapping[str, Path]) -> dict[str, OciImage]:
        """Return the images of courses by tag, each with its marker; those that are not there yet are built.

        Args:
            own: course repositories by tag.

        Raises:
            HarnessError: a repository's Dockerfile does not build.
        """
        bare = self._layout(self.base)
        return {tag: self._marked(self._layout(self.build(tag, own[tag])) if tag in own else bare, tag) for tag in tags}

    def build(self, tag: str, repository: Path) -> str:
        """Build a course's repository, unless it is there; returns the image's name in Docker.

        Raises:
            HarnessError: the Dockerfile does not build; the step that failed and its last lines are in the message.
        """
        key = fingerprint([repository, _image_id(self.base), str(self.offline)])
        image = f"{NAMESPACE}/course-{tag.lower()}:{key}"
        if image not in local_images():
            base = self.base if self.offline else None
            arguments = {"BASE_IMAGE": self.base}
            build_image(repository, tag=image, build_args=arguments, what=f"course {tag}", base=base)
        return image

    def _marked(self, image: OciImage, tag: str) -> OciImage:
        name = f"course-{tag}-{fingerprint([image.digest, MARKER])}"
        return self.store.find(name) or self.store.with_file(image, MARKER, f"{tag}\n", name)

    def _layout(self, image: str) -> OciImage:
        name = f"image-{image.rpartition('/')[2].partition(':')[0]}-{_image_id(image).removeprefix('sha256:')[:16]}"
        return self.store.find(name) or self.store.save(image, name)


def _image_id(image: str) -> str:
    return docker("image", "inspect", "--format", "{{.Id}}", image)


def course_builder(plan: Plan, made: Artifacts) -> CourseBuilder:
    """Return the builder of a plan's course images; without published images it has no registry in reach either."""
    return CourseBuilder(OciStore(plan.cache / "layouts"), made.notebook, offline=bool(made.images))


def course_repositories(plan: Plan) -> dict[str, Path]:
    """Return course repositories by tag: those in courses/, and in their place those that the run was given."""
    given = {course.tag: course.path for course in plan.courses}
    return {**repositories(plan.checkout / "courses"), **given}
