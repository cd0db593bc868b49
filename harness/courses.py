"""Course images: what the private registry holds for each known course."""

from __future__ import annotations

from pathlib import Path

from harness.docker import docker
from harness.dockerfile import NAMESPACE, build_image, local_images
from harness.layout import Layout, LayoutStore
from harness.plan import fingerprint

MARKER = "/etc/ol-course"
"""File in every course image that holds the course's tag: what proves, read through the kernel, which image runs."""


def repositories(directory: Path) -> dict[str, Path]:
    """Course repositories in a directory, by tag: the name of each one's own directory."""
    return {path.name: path for path in sorted(directory.iterdir()) if (path / "Dockerfile").is_file()}


def course_image(store: LayoutStore, base: str, tag: str, repository: Path | None) -> Layout:
    """The image of a course, with its marker.

    Args:
        base: the local Docker image that courses are built on.
        repository: the course's own; without one, the course is the base image and its marker.

    Raises:
        HarnessError: the repository's Dockerfile does not build.
    """
    image = _build(base, tag, repository) if repository else base
    made_of = _image_layout(store, image)
    name = f"course-{tag}-{fingerprint([made_of.digest, MARKER])}"
    return store.find(name) or store.with_file(made_of, MARKER, f"{tag}\n", name)


def _build(base: str, tag: str, repository: Path) -> str:
    key = fingerprint([repository, _image_id(base)])
    image = f"{NAMESPACE}/course-{tag.lower()}:{key}"
    if image not in local_images():
        build_image(repository, tag=image, build_args={"BASE_IMAGE": base}, what=f"course {tag}")
    return image


def _image_layout(store: LayoutStore, image: str) -> Layout:
    name = f"image-{_image_id(image).removeprefix('sha256:')[:16]}"
    return store.find(name) or store.save(image, name)


def _image_id(image: str) -> str:
    return docker("image", "inspect", "--format", "{{.Id}}", image)
