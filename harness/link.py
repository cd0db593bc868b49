"""A course link, and whether it did what it says: the course's image, and the notebook in it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

import httpx

from harness.aws import COURSES
from harness.cluster import Cluster
from harness.errors import HarnessError
from harness.registry import Registry
from harness.student import Page, Student


class WrongImageError(HarnessError):
    """A student got another image than the link's course has."""


class NoNotebookError(HarnessError):
    """The right image, and the link's notebook is not in it."""


@dataclass(frozen=True)
class Link:
    """What an author hands to learners."""

    course: str
    notebook: str = ""
    """Path from the learner's home directory, not encoded."""

    def __str__(self) -> str:
        query = {"course": self.course, **({"notebook": self.notebook} if self.notebook else {})}
        return "/tmplogin?" + urlencode(query, quote_via=quote, safe="")

    def follow(self, student: Student, cluster: Cluster, registry: Registry) -> Page:
        """Have a student follow the link, and see that it did what it says.

        Raises:
            WrongImageError: another image runs.
            NoNotebookError: the notebook is not there.
            SpawnError, JourneyError: the student never arrived.
        """
        page = student.open(str(self))
        self._check_image(student, cluster, registry)
        self._check_notebook(student)
        return page

    def _check_image(self, student: Student, cluster: Cluster, registry: Registry) -> None:
        pod = cluster.server_pod(student.hub.namespace, student.name)
        expected = f"{COURSES}:{self.course}"
        running = pod.spec.containers[0].image
        if running != expected:
            raise WrongImageError(
                f"{self} opened the image {running.rpartition(':')[2]}, not {self.course}. Check the course parameter, "
                "and that the course is in the spawner's list of known courses (dynamicImageConfig.py)."
            )
        image_id, pushed = pod.status.container_statuses[0].image_id, registry.digest(self.course)
        if image_id != f"{COURSES}@{pushed}":
            raise WrongImageError(f"{self} runs {image_id}, and what was pushed for {self.course} is {pushed}.")

    def _check_notebook(self, student: Student) -> None:
        if not self.notebook:
            return
        answer = student.contents(self.notebook)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NoNotebookError(
                f"{self} opened the right image, {self.course}, and {self.notebook} is not in it (404). Check the "
                "notebook's path, upper and lower case included, and that the link has it URL-encoded."
            )
        answer.raise_for_status()


EXAMPLE = Link("supervised_learning_fundamentals", "lectures/lecture1/regression.ipynb")
"""A link of the course in courses/supervised_learning_fundamentals."""
