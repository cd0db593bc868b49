"""A course link: how it is written, and which of its two symptoms a student has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.people.link import Link, LinkError, NoNotebookError, WrongImageError
from harness.plan.contract import COURSE_REPOSITORY


@pytest.mark.parametrize(
    ("link", "written"),
    [
        (Link("intro"), "/tmplogin?course=intro"),
        (Link("intro", "a/B c.ipynb"), "/tmplogin?course=intro&notebook=a%2FB%20c.ipynb"),
        (Link("intro", "LogReg_&_été.ipynb"), "/tmplogin?course=intro&notebook=LogReg_%26_%C3%A9t%C3%A9.ipynb"),
    ],
)
def test_written(link: Link, written: str) -> None:
    assert str(link) == written
    assert parse_qs(urlsplit(written).query).get("notebook", [""]) == [link.notebook]

    assert Link.read(f"https://nb.learn.mit.edu{written}") == link


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "course=a&notebook=R&D.ipynb",
            r"notebook 'R': the rest .*the link is /tmplogin\?course=a&notebook=R%26D\.ipynb",
        ),
        ("course=a&notebook=R#1.ipynb", r"the link is /tmplogin\?course=a&notebook=R%231\.ipynb"),
        ("course=a&notebook=lectures", r"notebook 'lectures'"),
        ("notebook=A.ipynb", r"names no course: expected /tmplogin\?course=TAG"),
    ],
)
def test_read_as_it_was_not_meant(query: str, message: str) -> None:
    with pytest.raises(LinkError, match=message):
        Link.read(f"/tmplogin?{query}")


@pytest.mark.parametrize(
    ("finds", "message"),
    [
        (
            {"find . -iname A.ipynb": "./labs/A.ipynb"},
            r"has it as labs/A\.ipynb: /tmplogin\?course=intro&notebook=labs%2F",
        ),
        ({"find / ": "/opt/A.ipynb"}, r"The image has it as /opt/A\.ipynb: have the Dockerfile copy it"),
        ({"-name '*.ipynb'": "./B.ipynb\n./C.ipynb"}, r"no file of that name\. Notebooks in .*: B\.ipynb, C\.ipynb"),
        ({}, r"home directory: none"),
    ],
    ids=["moved", "elsewhere", "other notebooks", "nothing"],
)
def test_whereabouts(finds: dict[str, str], message: str) -> None:
    student, cluster, registry = world(status=404)
    cluster.execute = lambda *command: next((out for find, out in finds.items() if find in command[-1]), "")
    with pytest.raises(NoNotebookError, match=message):
        Link("intro", "A.ipynb").follow(student, cluster, registry)


def world(image: str = "intro", image_id: str = "sha256:ff", status: int = 200) -> tuple[Any, Any, Any]:
    """A student, a cluster and a registry in which sha256:ff was pushed for every course."""
    container = SimpleNamespace(image=f"{COURSE_REPOSITORY}:{image}")
    state = SimpleNamespace(container_statuses=[SimpleNamespace(image_id=f"{COURSE_REPOSITORY}@{image_id}")])
    named = SimpleNamespace(name="jupyter-1")
    pod = SimpleNamespace(metadata=named, spec=SimpleNamespace(containers=[container]), status=state)
    answer = SimpleNamespace(status_code=status, raise_for_status=lambda: None)
    hub = SimpleNamespace(namespace="jupyter")
    server = SimpleNamespace(contents=lambda path: answer)
    student = SimpleNamespace(hub=hub, name="1", open=lambda link: f"page of {link}", server=server)
    cluster = SimpleNamespace(server_pod=lambda namespace, user: pod, execute=lambda *command: "")
    return student, cluster, SimpleNamespace(digest=lambda course: "sha256:ff")


def test_followed() -> None:
    page: object = Link("intro", "A.ipynb").follow(*world())
    assert page == "page of /tmplogin?course=intro&notebook=A.ipynb"


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ({"image": "base"}, WrongImageError, r"opened the image base, not intro\. Check the course parameter"),
        ({"image_id": "sha256:00"}, WrongImageError, r"runs .*@sha256:00, and what was pushed for intro is sha256:ff"),
        ({"status": 404}, NoNotebookError, r"the right image, intro, and A\.ipynb is not in it \(404\)"),
    ],
    ids=["wrong image", "old image", "no notebook"],
)
def test_symptoms(what: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Link("intro", "A.ipynb").follow(*world(**what))


def test_without_a_notebook_nothing_is_looked_for() -> None:
    assert Link("intro").follow(*world(status=404))
