"""The reason why a learner may not read or change a file, and the line of a Dockerfile that mends it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.people.permissions import why_no_access

OF_ROOT = "is root's. Add after it: USER root, RUN chown ${NB_UID}:100 /srv, USER ${NB_UID}, a line each"


@pytest.mark.parametrize(
    ("closed", "why"),
    [
        ("", ""),
        ("regular file|root|-rw-r--r--|/a", "/a belongs to root (-rw-r--r--), and learners are jovyan. Have the Docke"),
        ("regular empty file|root|-rw-r--r--|/a\ndirectory|root|drwxr-xr-x|/", "/a belongs to root (-rw-r--r--), and"),
        ("directory|root|drwxr-xr-x|/srv", f"learners are jovyan. A WORKDIR that is not there yet {OF_ROOT}"),
        ("regular file|jovyan|-r--r--r--|/a", "are jovyan. Have the Dockerfile open it: RUN chmod -R u+rwX /a"),
    ],
    ids=["none", "file", "the first", "directory", "own"],
)  # fmt: skip
def test_the_first_that_is_closed(closed: str, why: str) -> None:
    pod = SimpleNamespace(metadata=SimpleNamespace(name="jupyter-1"))
    cluster: Any = SimpleNamespace(server_pod=lambda *_: pod, execute=lambda *_: f"{closed}\njovyan\n".lstrip())
    student: Any = SimpleNamespace(hub=SimpleNamespace(namespace="jupyter"), name="1")
    found = why_no_access(cluster, student, "/", "/a", "/")
    assert why in found
    assert bool(found) is bool(closed)
