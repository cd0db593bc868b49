"""The check of a course's notebook as a learner: opened by its link, and run to its end within production's memory."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from harness.base.errors import HarnessError
from harness.base.quantities import GIB, spawner_bytes
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import oom_killed
from harness.cluster.pods import server_of
from harness.people.journey import JourneyError
from harness.people.link import Link, NoNotebookError, server_root
from harness.people.memory import Memory, watched_memory
from harness.people.notebook import NoKernelError, NotebookRun, run_notebook
from harness.people.permissions import why_no_access
from harness.people.student import Student
from harness.plan.course_repository import Repository
from harness.services.registry import Registry

HOST = "https://nb.learn.mit.edu"
"""The URL of production's students' hub."""
ON_PURPOSE = (
    "If this cell is to raise, give it the tag raises-exception, and the cells after it run too: in JupyterLab View, "
    "Property Inspector, Common Tools, Cell Tags; in Jupyter Notebook View, Right Sidebar, Show Notebook Tools, …"
)
HINTS = {"ModuleNotFoundError": "is it in requirements.txt?"}
"""The usual remedy for an error, by its name."""
NOT_PERMITTED = re.compile(r"PermissionError: .*'([^']+)'")
CAUSES = {
    "SIGKILL": "something killed it, and not because the server was at its limit of memory",
    "SIGSEGV": "a library crashed; see the versions in requirements.txt",
    "SIGABRT": "a library gave up; its last words are in the server's log",
    "SIGILL": "a library is built for another processor",
}
"""The usual cause of a death, by its signal."""
OR_SHORTER = "; or a file became shorter while it was mapped"
"""The other cause of a bus error."""
ABOUT_SHARED_MEMORY = re.compile(
    r"bus error|shared memory|/dev/shm|\bshm\b|(abruptly|unexpectedly) terminated|terminated abruptly", re.IGNORECASE
)
"""Errors of a kernel whose workers died of it (torch.utils.data, concurrent.futures), or that got none itself."""
LOCKED = "cd /proc/1/cwd && find . -xdev -type f ! -writable ! -path '*/.*' -printf '%P\\n' 2>/dev/null | head -n 500"
"""Command that lists what a learner cannot change of the files below the server's root."""


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
        served: all notebooks of the learner's server, by their paths in links, where the notebook was not at its own.
        locked: files of the learner's server that the learner cannot change, by their paths from its root.
        no_kernel: the kernel that the notebook wants and the image lacks.
        told_by: the notebook whose check tells of that kernel; empty for the first that wants it.
    """

    course: str
    notebook: str
    quota: MemoryQuota
    url: str = ""
    opened: bool = False
    run: NotebookRun | None = None
    memory: Memory | None = None
    troubles: list[str] = field(default_factory=list)
    """The reasons why the notebook is not fit for learners; none for one that is."""
    remarks: list[str] = field(default_factory=list)
    """Clauses about a notebook that is fit, and that its author may want to know."""
    page_troubles: list[str] = field(default_factory=list)
    """The same as troubles, as seen in a browser; one notebook of a course is opened there."""
    served: Collection[str] = ()
    locked: Collection[str] = ()
    no_kernel: str = ""
    told_by: str = ""

    @property
    def trouble(self) -> str:
        """The troubles, a line or two each; empty for a notebook that is fit for learners."""
        return "\n".join(self.troubles + self.page_troubles)

    @property
    def explanation(self) -> str:
        """The trouble, with the cell and its traceback."""
        failure = self.run and self.run.failure
        details = [failure.source, failure.traceback] if failure else []
        tag = [ON_PURPOSE] if failure and failure.traceback else []
        return "\n\n".join([f"{self.course}, {self.notebook}: {self.trouble}", *tag, *filter(None, details)])

    @property
    def all_remarks(self) -> list[str]:
        """The remarks, those on what its run took and printed among them."""
        greedy = self.memory and self.memory.peak > self.quota.guarantee
        memory = ["it takes more memory than is guaranteed: on a full node it may be killed"] if greedy else []
        return [*memory, *(self.run.cut_off if self.run else ()), *self.remarks]

    @property
    def result(self) -> str:
        """The result in a line."""
        if self.trouble:
            return self.trouble.splitlines()[0]
        if not self.run:
            return "interrupted"
        return ", and ".join(["ran", *self.all_remarks])


def find_served(notebook: str, served: Iterable[str], others: Iterable[str] = ()) -> str | None:
    """Find a repository's notebook on a server: at its own path, below a directory, or in one whose content was copied.

    Args:
        others: the repository's other notebooks; what has the path of one of them is that one.
    """
    there = set(served) - set(others)
    parts = PurePosixPath(notebook).parts
    below = sorted((path for path in there if path.endswith(f"/{notebook}")), key=lambda path: (len(path), path))
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    return next((path for path in [notebook, *below, *ends] if path in there), None)


def add_facts_of_the_course(check: NotebookCheck, course: Repository, before: Iterable[NotebookCheck]) -> None:
    """Add to a check what the course's other notebooks have to do with it.

    Args:
        before: the run's checks so far, of whatever course.
    """
    check.remarks += [
        f"its name differs from that of {twin} in upper and lower case alone: macOS and Windows keep one of the two"
        for twin in course.same_but_for_case(check.notebook)
    ]
    check.remarks += _about_locked(check, course, before)
    if not check.no_kernel:
        return
    earlier = [each for each in before if (each.course, each.no_kernel) == (check.course, check.no_kernel)]
    if earlier:
        check.told_by = earlier[0].notebook
        check.troubles = [f"not run: it wants the kernel {check.no_kernel} too, see {check.told_by}"]
    elif others := [name for name in course.with_kernel(check.no_kernel) if name != check.notebook]:
        check.troubles.append(f"The same kernel is wanted by: {', '.join(others)}")


def _about_locked(check: NotebookCheck, course: Repository, before: Iterable[NotebookCheck]) -> list[str]:
    """Return a clause about the course's files that learners cannot change, once for a course."""
    if any(each.course == check.course and each.locked for each in before):
        return []
    ends = {str(PurePosixPath(*PurePosixPath(path).parts[start:])) for path in check.locked for start in range(9)}
    files = [file for file in course.files if file in ends]
    more = f" and {len(files) - 1} more of its files" if len(files) > 1 else ""
    return [f"learners cannot change {files[0]}{more}: see the owners that the Dockerfile gives them"] if files else []


def check_notebook(
    check: NotebookCheck, link: Link, student: Student, cluster: Cluster, registry: Registry, cell_timeout: float
) -> None:
    """Let a student open a notebook by its link, run all of it and save it, and record the result in the check."""
    check.url = f"{HOST}{link}"
    check.troubles.clear()
    try:
        link.follow(student, cluster, registry)
        check.opened = True
        pod = cluster.server_pod(student.hub.namespace, student.name).metadata.name
        with watched_memory(cluster, student.hub.namespace, pod) as memory:
            check.run = run_notebook(student, link.notebook, cell_timeout=cell_timeout)
        check.memory = memory
        not_permitted = _why_not_permitted(check, link.notebook, student, cluster)
        not_saved = _why_not_saved(link.notebook, student, cluster)
        check.troubles += filter(None, [_failure(check, not_permitted), not_saved])
        check.locked = cluster.execute(student.hub.namespace, pod, "sh", "-c", LOCKED).splitlines()
    except HarnessError as error:
        if isinstance(error, NoNotebookError):
            check.served = error.served
        if isinstance(error, NoKernelError):
            check.no_kernel = error.kernel
        # With cgroup v2 the kernel kills all of a container at once, and the program that watches its memory with it.
        gone = check.opened and oom_killed(cluster.pods(student.hub.namespace).look(server_of(student.name)))
        check.troubles.append(f"the whole server was {_over(check)}" if gone else str(error))


def _failure(check: NotebookCheck, not_permitted: str) -> str:
    failure, memory = check.run and check.run.failure, check.memory
    if not check.run or not failure:
        return ""
    if memory and memory.kills:
        return f"cell {failure.number}: {_over(check)}"
    if memory and check.run.died:
        return f"cell {failure.number}: {_death(memory)}"
    shared = bool(memory and memory.shared and ABOUT_SHARED_MEMORY.search(failure.error))
    hints = [hint for error, hint in HINTS.items() if failure.error.startswith(error)]
    hints += [not_permitted] if not_permitted else []
    hints += [f"{_shared(memory)}: see num_workers=0 of a DataLoader"] if memory and shared else []
    return f"cell {failure.number}: {failure.error}" + "".join(f" ({hint})" for hint in hints)


def _death(memory: Memory) -> str:
    """Return how a kernel died, by its exit status."""
    if memory.ended is None:
        return "the kernel died"
    if not os.WIFSIGNALED(memory.ended):
        code = os.waitstatus_to_exitcode(memory.ended)
        return f"the kernel ended by itself, with exit code {code}: something ends its process, as os._exit does"
    number = os.WTERMSIG(memory.ended)
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"the kernel died of signal {number}"
    cause = f"{_shared(memory)}{OR_SHORTER}" if number == signal.SIGBUS else CAUSES.get(name, "")
    return f"the kernel died of signal {number} ({name})" + f": {cause}" * bool(cause)


def _shared(memory: Memory) -> str:
    return f"a learner's server has {memory.shared / 2**20:g} MB of shared memory, in /dev/shm"


def _over(check: NotebookCheck) -> str:
    limit = f"{check.quota.limit / GIB:g} GiB"
    return f"killed for its memory: it wanted more than the {limit} that a learner's server may take"


def _why_not_saved(notebook: str, student: Student, cluster: Cluster) -> str:
    """Save a notebook as it is, and return why learners cannot; empty if they can."""
    try:
        student.server.save(notebook)
    except JourneyError as error:
        file = PurePosixPath(server_root(student), notebook)
        why = why_no_access(cluster, student, "/", str(file), str(file.parent))
        return f"learners cannot save it: {why or error}"
    return ""


def _why_not_permitted(check: NotebookCheck, notebook: str, student: Student, cluster: Cluster) -> str:
    """Return why a cell that raised PermissionError was not permitted what it did; empty for any other."""
    failure = check.run and check.run.failure
    found = failure and NOT_PERMITTED.match(failure.error)
    if not found:
        return ""
    # A kernel works in its notebook's directory.
    directory = PurePosixPath(server_root(student), notebook).parent
    return why_no_access(cluster, student, str(directory), found[1], str(PurePosixPath(directory, found[1]).parent))
