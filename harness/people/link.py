"""A course link, and a check that it leads to the course's image and to the notebook in it."""

from __future__ import annotations

import functools
import itertools
import re
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx

from harness.base.errors import HarnessError
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import main_status
from harness.people.journey import Page
from harness.people.permissions import COPY, why_no_access
from harness.people.student import Student
from harness.plan.contract import COURSE_REPOSITORY
from harness.services.registry import Registry


class LinkError(HarnessError):
    """A link that means something else than its author intended."""


class WrongImageError(HarnessError):
    """A student got another image than the link's course has."""


class NoNotebookError(HarnessError):
    """The right image, and its server opens no notebook at the link's path.

    Attributes:
        served: the notebooks that the server has, by their paths in links.
    """

    def __init__(self, message: str, served: Collection[str] = ()) -> None:
        super().__init__(message)
        self.served = served


OTHER_PARAMETERS = ("tag", "needs_gpu")
"""Further parameters of a link that the spawner reads."""
SIGNS = "%, ? and # in a notebook's name break its link today. Rename it."
_NO_ADDRESS = re.compile("%(?![0-9A-Fa-f]{2})")
"""A sign that breaks an address in a browser, and that httpx mends on the way."""
_NOTEBOOKS = "find . -name '*.ipynb' -not -path '*/.*/*' 2>/dev/null"


@dataclass(frozen=True)
class Link:
    """The link that an author hands to learners."""

    course: str
    notebook: str = ""
    """Path from the root of the learner's server, most often the home directory; not encoded."""

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
            NoNotebookError: the notebook is not there, or is, and the link ends at another page.
            SpawnError, JourneyError: the student never arrived.
        """
        page = student.open(str(self))
        self.check(student, cluster, registry)
        self._check_page(student, page)
        return page

    def check(self, student: Student, cluster: Cluster, registry: Registry) -> None:
        """Check the image and the notebook that the link led a student to.

        Raises:
            WrongImageError, NoNotebookError: as `follow`.
        """
        self._check_image(student, cluster, registry)
        self._check_notebook(student, cluster)

    def _check_image(self, student: Student, cluster: Cluster, registry: Registry) -> None:
        pod = cluster.server_pod(student.hub.namespace, student.name)
        expected = f"{COURSE_REPOSITORY}:{self.course}"
        running = pod.spec.containers[0].image
        if running != expected:
            raise WrongImageError(
                f"{self} opened the image {running.rpartition(':')[2]}, not {self.course}. Check the course parameter, "
                "and that the course is in the spawner's list of known courses (dynamicImageConfig.py)."
            )
        image_id, pushed = main_status(pod).image_id, registry.digest(self.course)
        if image_id != f"{COURSE_REPOSITORY}@{pushed}":
            raise WrongImageError(f"{self} runs {image_id}, and what was pushed for {self.course} is {pushed}.")

    def _check_notebook(self, student: Student, cluster: Cluster) -> None:
        if not self.notebook:
            return
        answer = student.server.contents(self.notebook)
        if answer.status_code == httpx.codes.NOT_FOUND:
            pod = cluster.server_pod(student.hub.namespace, student.name).metadata.name
            inside = functools.partial(cluster.execute, student.hub.namespace, pod)
            root = server_root(student)
            found = inside("sh", "-c", f"cd {shlex.quote(root)} && {_NOTEBOOKS}").splitlines()
            served = [path.removeprefix("./") for path in found]
            raise NoNotebookError(
                f"{self} opened the right image, {self.course}, and {self.notebook} is not in it (404). "
                f"{self._whereabouts(student, root, served, inside)}",
                served,
            )
        if not answer.is_success:
            why = why_no_access(cluster, student, server_root(student), self.notebook)
            raise NoNotebookError(
                f"{self} opened the right image, {self.course}, and learners cannot open {self.notebook}: "
                f"{why or f'{answer.status_code} {answer.text[:200]}'}"
            )

    def _check_page(self, student: Student, page: Page) -> None:
        """Check that the link ended at its notebook's own page, because Jupyter answers 200 for any."""
        if not self.notebook:
            return
        targets = [urlsplit(hop.location or "").path for hop in student.journey.hops]
        broken = [target for target in targets if "/notebooks/" in target and _NO_ADDRESS.search(target)]
        if broken or page.path != f"/user/{student.name}/notebooks/{self.notebook}":
            by_name = set("%?#") & set(self.notebook)
            raise NoNotebookError(
                f"{self} opened the right image, {self.course}, and ended at {[*broken, urlsplit(page.url).path][0]}, "
                f"expected the page of {self.notebook}: "
                + (SIGNS if by_name else "check the default_url that the spawner sets for the link's notebook.")
            )

    def _whereabouts(self, student: Student, root: str, served: list[str], inside: Callable[..., str]) -> str:
        """Return where the notebook is instead, as far as the student's own server shows."""
        name = PurePosixPath(self.notebook).name
        alike = [path for path in served if PurePosixPath(path).name.lower() == name.lower()]
        # A link that is handed out is one that leads there.
        for path in sorted(alike, key=self._likeness, reverse=True):
            if student.server.contents(path).is_success:
                case_alone = ", which differs in upper and lower case alone" * (path.lower() == self.notebook.lower())
                return f"The server has it as {path}{case_alone}: {Link(self.course, path)}"
        home, *workdir = inside("sh", "-c", "cd && pwd && readlink /proc/1/cwd").splitlines()
        by_name = f"find / -xdev -iname {shlex.quote(name)} -not -path '/proc/*' 2>/dev/null"
        there = inside("sh", "-c", by_name).splitlines()
        if root != home:
            from_image = workdir == [root]
            cause = "the last WORKDIR of the Dockerfile" if from_image else "set by ServerApp.root_dir or by the hub"
            mend = "end the Dockerfile with WORKDIR ${HOME}" if from_image else "copy the notebooks there"
            place = f", and the notebook is at {there[0]}" if there else ""
            return f"Links count from the server's root: {root}, {cause}, not {home}{place}. Do this: {mend}."
        if there:
            return f"The image has it as {there[0]}: have the Dockerfile copy it to the home directory, {COPY}"
        return (
            "The image has no file of that name. Notebooks in the learner's home directory: "
            f"{', '.join(served[:5]) or 'none'}\n"
            "Check the notebook's path, upper and lower case included, and that the link has it URL-encoded."
        )

    def _likeness(self, path: str) -> int:
        """Return how many of the last parts a path has in common with the link's notebook."""
        pairs = zip(reversed(PurePosixPath(path).parts), reversed(PurePosixPath(self.notebook).parts), strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0].lower() == pair[1].lower(), pairs))


def server_root(student: Student) -> str:
    """Return the directory in the image from which a student's server counts paths, and with it every link.

    Raises:
        HarnessError: the server has no kernel of Python that could look.
    """
    with student.server.kernel() as kernel:
        return kernel.run("import os; print(os.getcwd())").stdout.strip()


EXAMPLE = Link("supervised_learning_fundamentals", "lectures/lecture1/regression.ipynb")
"""A link of the course in courses/supervised_learning_fundamentals."""
