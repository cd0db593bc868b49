"""A notebook tried as by a learner: each way in which it is not fit for learners, in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.courses import notebook_check
from harness.courses.notebook_check import (
    LOCKED,
    MemoryQuota,
    NotebookCheck,
    add_facts_of_the_course,
    check_notebook,
    find_served,
)
from harness.people.journey import JourneyError
from harness.people.link import Link, NoNotebookError
from harness.people.memory import Memory
from harness.people.notebook import CellFailure, NoKernelError, NotebookRun
from harness.plan.course_repository import Repository

WELL = NotebookRun(cells=3, run=3, seconds=1.0, failure=None, died=False)


def failed(error: str, *, died: bool = False) -> NotebookRun:
    return NotebookRun(3, 1, 1.0, CellFailure(2, "cell()", error, "Traceback"), died)


def raised(what: Any) -> Any:
    """What is given, raised if it is an error."""
    if isinstance(what, Exception):
        raise what
    return what


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What happens to a learner: set a field to an error to have it raised."""
    happens = SimpleNamespace(page="page", run=WELL, memory=Memory(2**28, 0), ended=None, saved=None)
    happens.closed, happens.locked = [], ""

    @contextmanager
    def watched(*pod: object) -> Iterator[Memory]:
        yield Memory() if isinstance(happens.memory, Exception) else happens.memory
        raised(happens.memory)

    monkeypatch.setattr(Link, "follow", lambda *_: raised(happens.page))
    monkeypatch.setattr(notebook_check, "run_notebook", lambda *_, **__: raised(happens.run))
    monkeypatch.setattr(notebook_check, "watched_memory", watched)
    monkeypatch.setattr(notebook_check, "server_root", lambda student: "/home/jovyan")
    return happens


def tried(world: SimpleNamespace) -> NotebookCheck:
    last = SimpleNamespace(terminated=world.ended and SimpleNamespace(reason=world.ended))
    status = SimpleNamespace(state=SimpleNamespace(terminated=None), last_state=last)
    pod = SimpleNamespace(metadata=SimpleNamespace(name="p"), status=SimpleNamespace(container_statuses=[status]))
    pods = SimpleNamespace(look=lambda selector: [pod])

    def execute(namespace: str, pod: str, *command: str) -> str:
        return world.locked if command[2] == LOCKED else "\n".join([*world.closed, "jovyan", ""])

    cluster: Any = SimpleNamespace(server_pod=lambda *_: pod, pods=lambda namespace: pods, execute=execute)
    server = SimpleNamespace(save=lambda path: raised(world.saved))
    student: Any = SimpleNamespace(hub=SimpleNamespace(namespace="jupyter"), name="1", server=server)
    registry: Any = None
    trial = NotebookCheck("trees.1", "a b.ipynb", MemoryQuota.of({"guarantee": "2G", "limit": "4G"}))
    check_notebook(trial, Link("trees.1", "a b.ipynb"), student, cluster, registry, cell_timeout=5)
    return trial


def test_fit(world: SimpleNamespace) -> None:
    found = tried(world)
    assert (found.opened, found.trouble, found.result) == (True, "", "ran")
    assert found.url == "https://nb.learn.mit.edu/tmplogin?course=trees.1&notebook=a%20b.ipynb"


def test_does_not_open(world: SimpleNamespace) -> None:
    world.page = NoNotebookError("a b.ipynb is not in it")
    found = tried(world)
    assert (found.opened, found.trouble, found.run) == (False, "a b.ipynb is not in it", None)


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        ("KeyError: 'rent'", "cell 2: KeyError: 'rent'"),
        ("ModuleNotFoundError: No module named 'x'", "cell 2: ModuleNotFoundError: No module named 'x' (is it in req"),
        ("not done after 5 s", "cell 2: not done after 5 s"),
        (
            "PermissionError: [Errno 13] 'x.csv'",
            "cell 2: PermissionError: [Errno 13] 'x.csv' (x.csv belongs to root (-rw-r--r--), and learners are jovyan",
        ),
        (
            "RuntimeError: DataLoader worker (pid 9) is killed by signal: Bus error.",
            "cell 2: RuntimeError: DataLoader worker (pid 9) is killed by signal: Bus error. (a learner's server has "
            "64 MB of shared memory, in /dev/shm: see num_workers=0",
        ),
    ],
)
def test_fails(world: SimpleNamespace, error: str, trouble: str) -> None:
    world.run, world.memory = failed(error), Memory(2**28, 0, 64 * 2**20)
    world.closed = ["regular file|root|-rw-r--r--|x.csv"]
    found = tried(world)
    assert found.trouble.startswith(trouble)
    assert found.explanation.endswith("\n\ncell()\n\nTraceback")
    assert "If this cell is to raise, give it the tag raises-exception" in found.explanation


def test_cell_that_did_not_raise_is_not_to_be_tagged(world: SimpleNamespace) -> None:
    world.run = NotebookRun(3, 1, 1.0, CellFailure(2, "cell()", "not done after 5 s", ""), died=False)
    assert "raises-exception" not in tried(world).explanation


BUS_ERROR = (
    "died of signal 7 (SIGBUS): a learner's server has 64 MB of shared memory, in /dev/shm; or a file became shorter "
    "while it was mapped"
)


@pytest.mark.parametrize(
    ("ended", "death"),
    [
        (7, BUS_ERROR),
        (7 | 0x80, BUS_ERROR),
        (9, "died of signal 9 (SIGKILL): something killed it, and not because the server was at its limit of memory"),
        (11, "died of signal 11 (SIGSEGV): a library crashed; see the versions in requirements.txt"),
        (35, "died of signal 35"),
        (3 << 8, "ended by itself, with exit code 3: something ends its process, as os._exit does"),
        (0, "ended by itself, with exit code 0: something ends its process, as os._exit does"),
        (None, "died"),
    ],
)
def test_how_the_kernel_died(world: SimpleNamespace, ended: int | None, death: str) -> None:
    """The signal of a kernel that died is named, and what most often sends it."""
    world.run, world.memory = failed("the kernel died", died=True), Memory(2**28, 0, 64 * 2**20, ended)
    assert tried(world).trouble == f"cell 2: the kernel {death}"


def test_output_that_the_page_cuts_off_is_told(world: SimpleNamespace) -> None:
    part = "the page shows only part of cell 1's output: it prints more than 1 MB a second"
    world.run = dataclasses.replace(WELL, cut_off=(part,))
    found = tried(world)
    assert (found.trouble, found.result) == ("", f"ran, and {part}")


def test_cannot_be_saved(world: SimpleNamespace) -> None:
    """A refusal names the owner and the line that mends it, whether the cells ran or not."""
    world.saved = JourneyError("The server of 1, at PUT contents/a%20b.ipynb: 500 Permission denied")
    world.closed = ["regular file|root|-rw-r--r--|/home/jovyan/a b.ipynb"]
    refused = (
        "learners cannot save it: /home/jovyan/a b.ipynb belongs to root (-rw-r--r--), and learners are jovyan. "
        "Have the Dockerfile give them what it copies: COPY --chown=${NB_UID}:100 . ${HOME}/"
    )
    assert tried(world).trouble == refused
    world.run = failed("KeyError: 'rent'")
    assert tried(world).troubles == ["cell 2: KeyError: 'rent'", refused]
    world.closed = []
    assert (
        tried(world)
        .troubles[1]
        .endswith("cannot save it: The server of 1, at PUT contents/a%20b.ipynb: 500 Permission denied")
    )


def checked(world: SimpleNamespace, course: Repository, *before: NotebookCheck) -> NotebookCheck:
    found = tried(world)
    add_facts_of_the_course(found, course, before)
    return found


@pytest.fixture
def course(tmp_path: Path) -> Repository:
    """A course whose notebooks want the kernel of R."""
    names = ("a b.ipynb", "c.ipynb")
    for name in names:
        (tmp_path / name).write_text('{"metadata": {"kernelspec": {"name": "ir"}}}')
    return Repository(tmp_path, "trees.1", names)


def test_kernel_that_the_image_lacks_is_told_once(world: SimpleNamespace, course: Repository) -> None:
    """The first notebook that wants it has the message, with the others, and those refer to it."""
    world.run = NoKernelError("a b.ipynb wants the kernel ir; the image has: python3.\nChoose one of these", "ir")
    first = checked(world, course)
    assert first.trouble.endswith("python3.\nChoose one of these\nThe same kernel is wanted by: c.ipynb")
    assert first.told_by == ""
    second = checked(world, course, first)
    assert (second.told_by, second.opened) == ("a b.ipynb", True)
    assert second.trouble == "not run: it wants the kernel ir too, see a b.ipynb"
    world.run = NoKernelError("wants the kernel julia", "julia")
    assert checked(world, course, first).told_by == "", "another kernel is told of another time"


def test_names_that_differ_in_case_alone(world: SimpleNamespace, tmp_path: Path) -> None:
    twins = Repository(tmp_path, "trees.1", ("a b.ipynb", "A b.ipynb"))
    remark = (
        "its name differs from that of A b.ipynb in upper and lower case alone: macOS and Windows keep one of the two"
    )
    assert checked(world, twins).result == f"ran, and {remark}"


def test_files_that_learners_cannot_change(world: SimpleNamespace, tmp_path: Path) -> None:
    """They are told once for a course, and only those that are the course's own."""
    for name in ("a.csv", "data/b.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    course = Repository(tmp_path, "trees.1", ("a b.ipynb",))
    world.locked = "content/data/b.csv\nelse.txt\n"
    first = checked(world, course)
    assert first.result == "ran, and learners cannot change data/b.csv: see the owners that the Dockerfile gives them"
    assert checked(world, course, first).result == "ran"
    world.locked = "a.csv\ndata/b.csv\n"
    assert "learners cannot change a.csv and 1 more of its files: " in checked(world, course).result


def test_killed_for_its_memory(world: SimpleNamespace) -> None:
    """A kernel that was killed for memory is told from one that died of itself."""
    world.run, world.memory = failed("the kernel died", died=True), Memory(2**32, 1)
    assert tried(world).trouble.startswith("cell 2: killed for its memory: it wanted more than the 4 GiB that")
    world.memory = Memory(2**28, 0)
    assert tried(world).trouble == "cell 2: the kernel died"


def test_whole_server_killed_for_its_memory(world: SimpleNamespace) -> None:
    world.run, world.memory = failed("the kernel died", died=True), HarnessError("kubectl exec: container not found")
    world.ended = "OOMKilled"
    assert tried(world).trouble.startswith("the whole server was killed for its memory: it wanted more than the 4 GiB")
    world.ended = "Completed"
    assert tried(world).trouble == "kubectl exec: container not found"


@pytest.mark.parametrize(
    ("served", "place"),
    [
        ({"notebooks/a/x.ipynb", "x.ipynb"}, "notebooks/a/x.ipynb"),
        ({"a/x.ipynb"}, "a/x.ipynb"),
        ({"x.ipynb"}, "x.ipynb"),
        ({"content/notebooks/a/x.ipynb", "x.ipynb"}, "content/notebooks/a/x.ipynb"),
        ({"b/x.ipynb", "ax.ipynb"}, None),
        ({"other/x.ipynb"}, None),
        (set(), None),
    ],
)
def test_find_served(served: set[str], place: str | None) -> None:
    """A notebook is where its path says, below that, or where the Dockerfile put what is in its directory."""
    assert find_served("notebooks/a/x.ipynb", served) == place


def test_another_notebook_of_the_course_is_not_taken_for_it() -> None:
    assert find_served("x.ipynb", {"lab/x.ipynb"}, others=["lab/x.ipynb"]) is None
