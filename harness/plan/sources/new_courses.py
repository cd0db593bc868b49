"""A new course, put into the lists that have to know it: what an author does by hand before a course's first link."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.base.files import parse_python, read_text
from harness.plan.contract import COURSE_REPOSITORY, CPU_COURSES, DEFAULT_COURSE, GPU_COURSES

IN_SPAWNER = Path(__file__).with_name("in_spawner.py")


def named_in(spawner: Path) -> frozenset[str]:
    """Return the texts that a spawner file has, among which are the courses that it names one by one.

    Raises:
        HarnessError: it is not there, or no Python.
    """
    tree = parse_python(spawner, "--spawner")
    return frozenset(
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def spawner_with(spawner: Path, courses: Mapping[str, bool]) -> str:
    """Return the text of a spawner file that adds courses to its lists when a hub loads it.

    Args:
        courses: by tag, whether it needs a GPU.
    """
    # An import from __future__ stands first in a file or nowhere.
    extension = IN_SPAWNER.read_text(encoding="utf-8").replace("from __future__ import annotations\n", "")
    known = {"default_course": DEFAULT_COURSE, "gpu_courses": sorted(GPU_COURSES), "cpu_courses": sorted(CPU_COURSES)}
    call = f"extend_lists(globals(), {dict(courses)!r}, **{known!r})"
    return f"{read_text(spawner, '--spawner')}\n\n{extension}\n\n{call}\n"


def pre_puller_with(courses: Iterable[str]) -> dict[str, Any]:
    """Return values by dotted key, for --set-json, that have the pre-puller bring courses to each node as well."""
    return {
        f"prePuller.extraImages.{container(course)}": {"name": COURSE_REPOSITORY, "tag": course}
        for course in sorted(courses)
    }


def container(course: str) -> str:
    """Return the name of the container that pre-pulls a course, in which Kubernetes has no dots and no underscores."""
    return course.lower().replace(".", "-").replace("_", "-")
