"""Course images: what the private registry holds for each known course."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def course_images(store: LayoutStore, base: str, tags: Iterable[str], own: Mapping[str, Path]) -> dict[str, Layout]:
    """The images of courses by tag, each with its marker.

    Args:
        base: the local Docker image that courses are built on.
        own: course repositories by tag; a course without one is the base image and its marker.

    Raises:
        HarnessError: a repository's Dockerfile does not build.
    """
    bare = _image_layout(store, base)
    return {tag: _marked(store, _built(store, base, tag, own[tag]) if tag in own else bare, tag) for tag in tags}


def _marked(store: LayoutStore, image: Layout, tag: str) -> Layout:
    name = f"course-{tag}-{fingerprint([image.digest, MARKER])}"
    return store.find(name) or store.with_file(image, MARKER, f"{tag}\n", name)


def _built(store: LayoutStore, base: str, tag: str, repository: Path) -> Layout:
    key = fingerprint([repository, _image_id(base)])
    image = f"{NAMESPACE}/course-{tag.lower()}:{key}"
    if image not in local_images():
        build_image(repository, tag=image, build_args={"BASE_IMAGE": base}, what=f"course {tag}")
    return _image_layout(store, image)


def _image_layout(store: LayoutStore, image: str) -> Layout:
    name = f"image-{image.rpartition('/')[2].partition(':')[0]}-{_image_id(image).removeprefix('sha256:')[:16]}"
    return store.find(name) or store.save(image, name)


def _image_id(image: str) -> str:
    return docker("image", "inspect", "--format", "{{.Id}}", image)
