"""The check of a course's notebook as a learner: opened by its link, and run to its end within production's memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.base.errors import HarnessError
from harness.base.quantities import GIB, spawner_bytes
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import oom_killed
from harness.cluster.pods import server_of
from harness.people.link import Link
from harness.people.memory import Memory, watched_memory
from harness.people.notebook import NotebookRun, run_notebook
from harness.people.student import Student
from harness.services.registry import Registry

HOST = "https://nb.learn.mit.edu"
"""The URL of production's students' hub."""


@dataclass(frozen=True)
class MemoryQuota:
    """Bytes of memory that production gives a student's server: the guarantee and the limit."""

    guarantee: int
    limit: int

    @classmethod
    def of(cls, memory: Mapping[str, object]) -> MemoryQuota:
        """Return the quota that the values of singleuser.memory give.

        Raises:
            HarnessError: JupyterHub would refuse one of them.
        """
        return cls(*(spawner_bytes(memory[bound], f"singleuser.memory.{bound}") for bound in ("guarantee", "limit")))


@dataclass
class NotebookCheck:
    """The check of one notebook, and its result.

    Attributes:
        notebook: path in the course's repository.
        url: the link to hand to learners, in production.
        opened: True if the link opened it in the course's own image.
        run: None if it never began.
    """

    course: str
    notebook: str
    quota: MemoryQuota
    url: str = ""
    opened: bool = False
    run: NotebookRun | None = None
    memory: Memory | None = None
    trouble: str = ""
    """The reason why the notebook is not fit for learners; empty for one that is."""

    @property
    def explanation(self) -> str:
        """The trouble, with the cell and its traceback."""
        failure = self.run and self.run.failure
        details = [failure.source, failure.traceback] if failure else []
        return "\n\n".join([f"{self.course}, {self.notebook}: {self.trouble}", *filter(None, details)])

    @property
    def result(self) -> str:
        """The result in a line."""
        if self.trouble:
            return self.trouble.splitlines()[0]
        if self.memory and self.memory.peak > self.quota.guarantee:
            return "ran, with more memory than is guaranteed: on a full node it may be killed"
        return "ran"


def find_at_home(notebook: str, at_home: Iterable[str]) -> str | None:
    """Find a repository's notebook at home: at its own path, or in a directory whose content was copied."""
    parts = PurePosixPath(notebook).parts
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    there = set(at_home)
    return next((end for end in ends if end in there), None)


def check_notebook(
    check: NotebookCheck, link: Link, student: Student, cluster: Cluster, registry: Registry, cell_timeout: float
) -> None:
    """Let a student open a notebook by its link and run all of it, and record the result in the check."""
    check.url = f"{HOST}{link}"
    try:
        link.follow(student, cluster, registry)
        check.opened = True
        pod = cluster.server_pod(student.hub.namespace, student.name).metadata.name
        with watched_memory(cluster, student.hub.namespace, pod) as memory:
            check.run = run_notebook(student, link.notebook, cell_timeout=cell_timeout)
        check.memory = memory
    except HarnessError as error:
        # With cgroup v2 the kernel kills all of a container at once, and the program that watches its memory with it.
        gone = check.opened and oom_killed(cluster.pods(student.hub.namespace).look(server_of(student.name)))
        check.trouble = f"the whole server was {_over(check)}" if gone else str(error)
    else:
        check.trouble = _failure(check)


def _failure(check: NotebookCheck) -> str:
    failure, memory = check.run and check.run.failure, check.memory
    if not failure:
        return ""
    if memory and memory.kills:
        return f"cell {failure.number}: {_over(check)}"
    missing = " (is it in requirements.txt?)" if failure.error.startswith("ModuleNotFoundError") else ""
    return f"cell {failure.number}: {failure.error}{missing}"


def _over(check: NotebookCheck) -> str:
    limit = f"{check.quota.limit / GIB:g} GiB"
    return f"killed for its memory: it wanted more than the {limit} that a learner's server may take"
