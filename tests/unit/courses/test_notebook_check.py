"""A notebook tried as by a learner: each way in which it is not fit for learners, in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.courses import notebook_check
from harness.courses.notebook_check import MemoryQuota, NotebookCheck, check_notebook
from harness.people.link import Link, NoNotebookError
from harness.people.memory import Memory
from harness.people.notebook import CellFailure, NotebookRun

WELL = NotebookRun(cells=3, run=3, seconds=1.0, failure=None, died=False)


def failed(error: str, *, died: bool = False) -> NotebookRun:
    return NotebookRun(3, 1, 1.0, CellFailure(2, "cell()", error, "Traceback"), died)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What happens to a learner: set a field to an error to have it raised."""
    happens = SimpleNamespace(page="page", run=WELL, memory=Memory(2**28, 0), ended=None)

    def told(what: Any) -> Any:
        if isinstance(what, Exception):
            raise what
        return what

    @contextmanager
    def watched(*pod: object) -> Iterator[Memory]:
        yield Memory() if isinstance(happens.memory, Exception) else happens.memory
        told(happens.memory)

    monkeypatch.setattr(Link, "follow", lambda *_: told(happens.page))
    monkeypatch.setattr(notebook_check, "run_notebook", lambda *_, **__: told(happens.run))
    monkeypatch.setattr(notebook_check, "watched_memory", watched)
    return happens


def tried(world: SimpleNamespace) -> NotebookCheck:
    last = SimpleNamespace(terminated=world.ended and SimpleNamespace(reason=world.ended))
    status = SimpleNamespace(state=SimpleNamespace(terminated=None), last_state=last)
    pod = SimpleNamespace(metadata=SimpleNamespace(name="p"), status=SimpleNamespace(container_statuses=[status]))
    pods = SimpleNamespace(look=lambda selector: [pod])
    cluster: Any = SimpleNamespace(server_pod=lambda *_: pod, pods=lambda namespace: pods)
    student: Any = SimpleNamespace(hub=SimpleNamespace(namespace="jupyter"), name="1")
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
    ("error", "said"),
    [
        ("KeyError: 'rent'", "cell 2: KeyError: 'rent'"),
        ("ModuleNotFoundError: No module named 'x'", "cell 2: ModuleNotFoundError: No module named 'x' (is it in req"),
        ("not done after 5 s", "cell 2: not done after 5 s"),
    ],
)
def test_fails(world: SimpleNamespace, error: str, said: str) -> None:
    world.run = failed(error)
    found = tried(world)
    assert found.trouble.startswith(said)
    assert found.explanation.endswith("\n\ncell()\n\nTraceback")


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
