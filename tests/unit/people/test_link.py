"""A course link: how it is written, and which of its two symptoms a student has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import httpx
import pytest

from harness.people.journey import Hop, Journey, Page
from harness.people.kernel import CellResult
from harness.people.link import Link, LinkError, NoNotebookError, WrongImageError
from harness.plan.contract import COURSE_REPOSITORY

HOME = "/home/jovyan"


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


MENDED = "Do this: end the Dockerfile with WORKDIR ${HOME}."
CONFIGURED = "set by ServerApp.root_dir or by the hub"


@pytest.mark.parametrize(
    ("root", "files", "message"),
    [
        (HOME, {"labs/A.ipynb"}, "The server has it as labs/A.ipynb: /tmplogin?course=intro&notebook=labs%2FA.ipynb"),
        (
            HOME,
            {"a.ipynb", "labs/A.ipynb"},
            "The server has it as a.ipynb, which differs in upper and lower case alone: /tmplogin?course=intro&notebook"
            "=a.ipynb",
        ),
        (HOME, {"/opt/A.ipynb"}, "The image has it as /opt/A.ipynb: have the Dockerfile copy it to the home director"),
        (HOME, {"B.ipynb", "C.ipynb"}, "no file of that name. Notebooks in the learner's home directory: B.ipynb, C.i"),
        (HOME, set(), "home directory: none"),
        (
            "/opt",
            {f"{HOME}/A.ipynb"},
            "Links count from the server's root: /opt, the last WORKDIR of the Dockerfile, not /home/jovyan, and the "
            f"notebook is at {HOME}/A.ipynb. {MENDED}",
        ),
        ("/opt", set(), f"of the Dockerfile, not /home/jovyan. {MENDED}"),
        ("/srv", set(), f"Links count from the server's root: /srv, {CONFIGURED}, not /home/jovyan. Do this: copy the"),
        ("/srv/course", {"content/A.ipynb"}, "The server has it as content/A.ipynb: /tmplogin?course=intro&notebook=c"),
    ],
    ids=["moved", "other case", "elsewhere", "other notebooks", "nothing", "outside the root", "root", "configured",
         "below the root"],
)  # fmt: skip
def test_whereabouts(root: str, files: set[str], message: str) -> None:
    """Links count from the root that the server has, and one that is advised leads to a notebook."""
    student, cluster, registry = world(status=404)
    served = {path for path in files if not path.startswith("/")}
    student.server.root = root
    student.server.contents = lambda path: httpx.Response(200 if path in served else 404)

    def execute(namespace: str, pod: str, shell: str, option: str, script: str) -> str:
        if script == f"cd {root} && find . -name '*.ipynb' -not -path '*/.*/*' 2>/dev/null":
            return "".join(f"./{path}\n" for path in sorted(served))
        if "/proc/1/cwd" in script:
            return f"{HOME}\n{'/opt' if root == '/opt' else HOME}\n"
        assert script.startswith("find / -xdev -iname A.ipynb"), script
        return "".join(f"{path}\n" for path in files - served)

    cluster.execute = execute
    with pytest.raises(NoNotebookError) as caught:
        Link("intro", "A.ipynb").follow(student, cluster, registry)
    assert message in str(caught.value).splitlines()[0], "the table has the first line alone"
    assert set(caught.value.served) == served


def test_link_that_does_not_lead_there_is_not_advised() -> None:
    """The file is below the root, and the server does not serve it all the same."""
    student, cluster, registry = world(status=404)
    cluster.execute = lambda *command: "./x/A.ipynb\n" if "-name" in command[-1] else f"{HOME}\n{HOME}\n"
    with pytest.raises(NoNotebookError) as caught:
        Link("intro", "A.ipynb").follow(student, cluster, registry)
    assert "notebook=x" not in str(caught.value)


class FakeServer:
    """A student's server, with the same answer for every path."""

    def __init__(self, status: int) -> None:
        self.root = HOME
        self.contents: Callable[[str], httpx.Response] = lambda path: httpx.Response(
            status, text="Unreadable Notebook", request=httpx.Request("GET", "http://127.0.0.1")
        )

    @contextmanager
    def kernel(self) -> Iterator[Any]:
        yield SimpleNamespace(run=lambda code: CellResult("", f"{self.root}\n"))


def world(image: str = "intro", image_id: str = "sha256:ff", status: int = 200) -> tuple[Any, Any, Any]:
    """A student, a cluster and a registry in which sha256:ff was pushed for every course."""
    container = SimpleNamespace(name="notebook", image=f"{COURSE_REPOSITORY}:{image}")
    # The kubelet sorts them by name.
    metrics = SimpleNamespace(name="metrics", image_id="metrics@sha256:1")
    server = SimpleNamespace(name="notebook", image_id=f"{COURSE_REPOSITORY}@{image_id}")
    state = SimpleNamespace(container_statuses=[metrics, server])
    named = SimpleNamespace(name="jupyter-1")
    pod = SimpleNamespace(metadata=named, spec=SimpleNamespace(containers=[container]), status=state)
    hub = SimpleNamespace(namespace="jupyter")

    def open_link(link: str) -> Page:
        """Go where a spawner leads that pastes the notebook's name into the address, as httpx does."""
        target = f"/user/1/notebooks/{dict(parse_qsl(urlsplit(link).query)).get('notebook', '')}"
        student.journey.hops += [Hop(link, 302, None, 0.1), Hop("/user/1/", 302, target, 0.1)]
        return Page(httpx.URL(f"http://hub{target}").raw_path.decode(), 200, "the shell")

    student = SimpleNamespace(hub=hub, name="1", open=open_link, server=FakeServer(status), journey=Journey())
    cluster = SimpleNamespace(server_pod=lambda namespace, user: pod, execute=lambda *command: f"{HOME}\n")
    return student, cluster, SimpleNamespace(digest=lambda course: "sha256:ff")


@pytest.mark.parametrize("notebook", ["A.ipynb", "Week 2/LogReg_&_été (C++), v1.ipynb"])
def test_followed(notebook: str) -> None:
    assert Link("intro", notebook).follow(*world()).path == f"/user/1/notebooks/{notebook}"


@pytest.mark.parametrize(
    ("notebook", "ended"),
    [
        ("Lab #1.ipynb", "/user/1/notebooks/Lab%20"),
        ("Why?.ipynb", "/user/1/notebooks/Why"),
        ("a%20b.ipynb", "/user/1/notebooks/a%20b.ipynb"),
        ("100%.ipynb", "/user/1/notebooks/100%.ipynb"),
    ],
)
def test_name_that_breaks_its_link(notebook: str, ended: str) -> None:
    """The server has the notebook, and the link ends at the page of another."""
    with pytest.raises(NoNotebookError) as caught:
        Link("intro", notebook).follow(*world())
    assert f"and ended at {ended}, expected the page of {notebook}: %, ? and # in a notebook's n" in str(caught.value)
    assert str(caught.value).endswith("break its link today. Rename it.")


@pytest.mark.parametrize("notebook", ["Lab #1.ipynb", "Why?.ipynb", "100%.ipynb"])
def test_name_that_a_spawner_quotes(notebook: str) -> None:
    student, *others = world()
    pasted = student.open
    student.open = lambda link: pasted(link.replace(quote(notebook, safe=""), quote(quote(notebook), safe="")))
    assert Link("intro", notebook).follow(student, *others).path == f"/user/1/notebooks/{notebook}"


def test_link_that_ends_at_the_list_of_files() -> None:
    student, *others = world()
    student.open = lambda link: Page("/user/1/tree?course=intro", 200, "the list")
    expected = r"ended at /user/1/tree, expected the page of A\.ipynb: check the default_url that the spawner sets"
    with pytest.raises(NoNotebookError, match=expected):
        Link("intro", "A.ipynb").follow(student, *others)


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


def test_notebook_that_learners_may_not_read() -> None:
    student, cluster, registry = world(status=403)
    cluster.execute = lambda *command: "regular file|root|-rw-------|A.ipynb\njovyan\n"
    message = r"learners cannot open A\.ipynb: A\.ipynb belongs to root \(-rw-------\), and learners are jovyan\. Have "
    with pytest.raises(NoNotebookError, match=message):
        Link("intro", "A.ipynb").follow(student, cluster, registry)


def test_notebook_that_is_none() -> None:
    """The server's own words, where the file's owner is not the reason."""
    with pytest.raises(NoNotebookError, match=r"learners cannot open A\.ipynb: 400 Unreadable Notebook"):
        Link("intro", "A.ipynb").follow(*world(status=400))


def test_without_a_notebook_nothing_is_looked_for() -> None:
    assert Link("intro").follow(*world(status=404)).status == 200
