"""A course link, and a check that it leads to the course's image and to the notebook in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx

from harness.base.errors import HarnessError
from harness.cluster.kind import Cluster
from harness.people.journey import Page
from harness.people.student import Student
from harness.plan.contract import COURSE_REPOSITORY
from harness.services.registry import Registry


class LinkError(HarnessError):
    """A link that means something else than its author intended."""


class WrongImageError(HarnessError):
    """A student got another image than the link's course has."""


class NoNotebookError(HarnessError):
    """The right image, and the link's notebook is not in it."""


OTHER_PARAMETERS = ("tag", "needs_gpu")
"""Further parameters of a link that the spawner reads."""
COPY = "COPY --chown=${NB_UID}:100 . ${HOME}/"


@dataclass(frozen=True)
class Link:
    """The link that an author hands to learners."""

    course: str
    notebook: str = ""
    """Path from the learner's home directory, not encoded."""

    def __str__(self) -> str:
        query = {"course": self.course, **({"notebook": self.notebook} if self.notebook else {})}
        return "/tmplogin?" + urlencode(query, quote_via=quote, safe="")

    @classmethod
    def read(cls, url: str) -> Link:
        """Read a link as it was written, with or without its host.

        Raises:
            LinkError: its course or its notebook is not what was meant, most often for want of URL encoding.
        """
        query = urlsplit(url).query
        given = dict(parse_qsl(query, keep_blank_values=True))
        course, notebook = given.pop("course", ""), given.pop("notebook", "")
        _, _, written = query.partition("notebook=")
        strange = [name for name in given if name not in OTHER_PARAMETERS]
        if strange or urlsplit(url).fragment or (notebook and not notebook.endswith(".ipynb")):
            meant = f"{written}#{urlsplit(url).fragment}".removesuffix("#")
            raise LinkError(
                f"{url} asks for the notebook {notebook!r}: the rest of its name is lost, because the link is not "
                f"URL-encoded. If the notebook is {meant}, the link is {cls(course, meant)}"
            )
        if not course:
            raise LinkError(f"{url} names no course: expected /tmplogin?course=TAG&notebook=PATH")
        return cls(course, notebook)

    def follow(self, student: Student, cluster: Cluster, registry: Registry) -> Page:
        """Have a student follow the link, and check the image and the notebook that it leads to.

        Raises:
            WrongImageError: another image runs.
            NoNotebookError: the notebook is not there.
            SpawnError, JourneyError: the student never arrived.
        """
        page = student.open(str(self))
        self._check_image(student, cluster, registry)
        self._check_notebook(student, cluster)
        return page

    def _check_image(self, student: Student, cluster: Cluster, registry: Registry) -> None:
        pod = cluster.server_pod(student.hub.namespace, student.name)
        expected = f"{COURSE_REPOSITORY}:{self.course}"
        running = pod.spec.containers[0].image
        if running != expected:
            raise WrongImageError(
                f"{self} opened the image {running.rpartition(':')[2]}, not {self.course}. Check the course parameter, "
                "and that the course is in the spawner's list of known courses (dynamicImageConfig.py)."
            )
        image_id, pushed = pod.status.container_statuses[0].image_id, registry.digest(self.course)
        if image_id != f"{COURSE_REPOSITORY}@{pushed}":
            raise WrongImageError(f"{self} runs {image_id}, and what was pushed for {self.course} is {pushed}.")

    def _check_notebook(self, student: Student, cluster: Cluster) -> None:
        if not self.notebook:
            return
        answer = student.server.contents(self.notebook)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NoNotebookError(
                f"{self} opened the right image, {self.course}, and {self.notebook} is not in it (404). Check the "
                "notebook's path, upper and lower case included, and that the link has it URL-encoded.\n"
                f"{self._whereabouts(student, cluster)}"
            )
        answer.raise_for_status()

    def _whereabouts(self, student: Student, cluster: Cluster) -> str:
        """Return where the notebook is instead, as far as the student's own server shows."""
        pod = cluster.server_pod(student.hub.namespace, student.name).metadata.name

        def find(command: str) -> list[str]:
            return cluster.execute(student.hub.namespace, pod, "sh", "-c", f"cd && {command} 2>/dev/null").splitlines()

        name = shlex.quote(PurePosixPath(self.notebook).name)
        if there := find(f"find . -iname {name} -not -path '*/.*/*'"):
            moved = there[0].removeprefix("./")
            return f"The learner's home directory has it as {moved}: {Link(self.course, moved)}"
        if there := find(f"find / -xdev -iname {name} -not -path '/proc/*'"):
            return f"The image has it as {there[0]}: have the Dockerfile copy it to the home directory, {COPY}"
        others = ", ".join(path.removeprefix("./") for path in find("find . -name '*.ipynb' -not -path '*/.*/*'")[:5])
        return f"The image has no file of that name. Notebooks in the learner's home directory: {others or 'none'}"


EXAMPLE = Link("supervised_learning_fundamentals", "lectures/lecture1/regression.ipynb")
"""A link of the course in courses/supervised_learning_fundamentals."""
