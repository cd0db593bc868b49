"""A course's notebook, tried as by a learner: opened by its link, and run to its end within what production gives."""

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
"""Where production's students' hub is."""


@dataclass(frozen=True)
class MemoryQuota:
    """Bytes of memory that production gives a student's server: what is guaranteed, and what it may take at most."""

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
    """What became of one notebook.

    Attributes:
        notebook: path in the course's repository.
        url: the link to hand to learners, in production.
        opened: whether the link opened it, in the course's own image.
        run: None where it was never begun.
    """

    course: str
    notebook: str
    allowance: MemoryQuota
    url: str = ""
    opened: bool = False
    run: NotebookRun | None = None
    memory: Memory | None = None
    trouble: str = ""
    """Why it is not fit for learners; empty for one that is."""

    @property
    def explanation(self) -> str:
        """The trouble, with the cell and its traceback."""
        failure = self.run and self.run.failure
        details = [failure.source, failure.traceback] if failure else []
        return "\n\n".join([f"{self.course}, {self.notebook}: {self.trouble}", *filter(None, details)])

    @property
    def result(self) -> str:
        """The verdict in a line."""
        if self.trouble:
            return self.trouble.splitlines()[0]
        if self.memory and self.memory.peak > self.allowance.guarantee:
            return "ran, with more memory than is guaranteed: on a full node it may be killed"
        return "ran"


def place_of(notebook: str, at_home: Iterable[str]) -> str | None:
    """Where a repository's notebook is in the home directory: at its own path, or where a directory's content went."""
    parts = PurePosixPath(notebook).parts
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    there = set(at_home)
    return next((end for end in ends if end in there), None)


def check_notebook(
    trial: NotebookCheck, link: Link, student: Student, cluster: Cluster, registry: Registry, cell_timeout: float
) -> None:
    """Have a student open a notebook by its link and run all of it; the trial has what became of it."""
    trial.url = f"{HOST}{link}"
    try:
        link.follow(student, cluster, registry)
        trial.opened = True
        pod = cluster.server_pod(student.hub.namespace, student.name).metadata.name
        with watched_memory(cluster, student.hub.namespace, pod) as memory:
            trial.run = run_notebook(student, link.notebook, cell_timeout=cell_timeout)
        trial.memory = memory
    except HarnessError as error:
        # With cgroup v2 the kernel kills all of a container at once, and who watched its memory with it.
        gone = trial.opened and oom_killed(cluster.pods(student.hub.namespace).look(server_of(student.name)))
        trial.trouble = f"the whole server was {_over(trial)}" if gone else str(error)
    else:
        trial.trouble = _failure(trial)


def _failure(trial: NotebookCheck) -> str:
    failure, memory = trial.run and trial.run.failure, trial.memory
    if not failure:
        return ""
    if memory and memory.kills:
        return f"cell {failure.number}: {_over(trial)}"
    missing = " (is it in requirements.txt?)" if failure.error.startswith("ModuleNotFoundError") else ""
    return f"cell {failure.number}: {failure.error}{missing}"


def _over(trial: NotebookCheck) -> str:
    limit = f"{trial.allowance.limit / GIB:g} GiB"
    return f"killed for its memory: it wanted more than the {limit} that a learner's server may take"
