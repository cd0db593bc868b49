"""A new course, put into the lists that have to know it: what an author does by hand before a course's first link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.base.files import parse_python, read_text
from harness.plan.contract import COURSE_REPOSITORY, DEFAULT_COURSE, GPU_COURSES
from harness.plan.sources.constants import Constants


def known_courses(spawner: Path) -> frozenset[str]:
    """The courses that a spawner file knows.

    Raises:
        HarnessError: it has no list of them that can be worked out.
    """
    return _constants(spawner).texts_with(DEFAULT_COURSE, "KNOWN_COURSES")


def spawner_with(spawner: Path, courses: Mapping[str, bool]) -> str:
    """The text of a spawner file with courses added to its lists: to those it knows, and to those that get a GPU.

    Args:
        courses: by tag, whether it needs a GPU.

    Raises:
        HarnessError: the file has no such list that can be worked out.
    """
    constants = _constants(spawner)
    known = constants.list_with(DEFAULT_COURSE, "KNOWN_COURSES")
    added = {known: sorted(courses)}
    if with_gpu := sorted(course for course, needs_gpu in courses.items() if needs_gpu):
        gpu = constants.list_with(min(GPU_COURSES), "GPU_ENABLED_COURSES", without=DEFAULT_COURSE)
        added[gpu] = with_gpu
    lines = read_text(spawner, "--spawner").splitlines()
    for name in sorted(added, key=constants.last_line, reverse=True):
        lines.insert(constants.last_line(name), f"{name} = type({name})([*{name}, *{added[name]!r}])")
    return "\n".join([*lines, ""])


def pre_puller_with(courses: Iterable[str]) -> dict[str, Any]:
    """Values by dotted key, for --set-json, that have the pre-puller bring courses to each node beside its others."""
    return {
        f"prePuller.extraImages.{container(course)}": {"name": COURSE_REPOSITORY, "tag": course}
        for course in sorted(courses)
    }


def container(course: str) -> str:
    """Name of the container that pre-pulls a course, in which Kubernetes has no dots and no underscores."""
    return course.lower().replace(".", "-").replace("_", "-")


def _constants(spawner: Path) -> Constants:
    return Constants(parse_python(spawner, "--spawner"), f"--spawner {spawner}")
