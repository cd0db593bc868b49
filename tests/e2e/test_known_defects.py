"""Promises that the deployment does not keep today: told at the end as still there or as fixed, never red."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import pytest

from fixtures.target import AskSpawner
from harness.base.wait import NotYet, TooLateError, wait_until
from harness.cluster.kind import Cluster
from harness.hub.api import Hub
from harness.hub.spawner_probe import Choice, Request
from harness.people.student import Student
from harness.plan.contract import DEFAULT_COURSE
from harness.services.postgres import Postgres

Ask = Callable[[Request], Choice]

PLAIN = "uai_source-uai.0"

LIKE_PLACEHOLDERS = ["%7Bx%7D.ipynb", "%7Busername%7D.ipynb", "%25U.ipynb"]
LIKE_ADDRESSES = ["100%25.ipynb", "Q%3F.ipynb", "h%23.ipynb"]
REFUSALS = ["false", "0", "no"]
NO_TEXTS = [None, ["uai_source-uai.0"], 7]
EXPERIMENT = Request("tag=somebodys-experiment")
MISTYPED = Request("", form={"course": ["uai_source-uai.10"]})


def notebook(name: str) -> Request:
    return Request(f"course={PLAIN}&notebook={name}")


def refusal(value: str) -> Request:
    return Request(f"course={DEFAULT_COURSE}&needs_gpu={value}")


def options(course: object) -> Request:
    return Request("", options={"course": course})


@pytest.fixture(scope="module")
def ask(ask_spawner: AskSpawner) -> Ask:
    """What the spawner makes of each request here; all are put to it at once, which takes as long as one."""
    requests = [
        *map(notebook, LIKE_PLACEHOLDERS + LIKE_ADDRESSES),
        *map(refusal, REFUSALS),
        *map(options, NO_TEXTS),
        EXPERIMENT,
        MISTYPED,
    ]
    choices = ask_spawner(requests)
    return lambda request: choices[requests.index(request)]


@pytest.mark.known_defect("a link without a course shows students the authors' form, not a server")
@pytest.mark.parametrize("link", ["/", "/hub/", "/tmplogin", "/hub/tmplogin"])
def test_link_without_a_course_opens_a_server(visit: Callable[[], Student], link: str) -> None:
    """A link without a course opens the default course."""
    student = visit()
    page = student.open(link)
    assert page.path.startswith("/user/"), f"{link} ends at {page.path}"


@pytest.mark.known_defect("braces and %U in a notebook's name are taken for placeholders")
@pytest.mark.parametrize("name", LIKE_PLACEHOLDERS)
def test_placeholders_in_a_notebook_name_are_only_letters(ask: Ask, name: str) -> None:
    """A notebook may have braces and percent signs in its name."""
    found = ask(notebook(name))
    expected = f"/notebooks/{unquote(name)}"
    assert found.default_url in (expected, f"/notebooks/{name}"), f"notebook={name} gives {found}"


@pytest.mark.known_defect("%, ? and # in a notebook's name break the address of its page")
@pytest.mark.parametrize("name", LIKE_ADDRESSES)
def test_signs_of_an_address_in_a_notebook_name(ask: Ask, name: str) -> None:
    """A notebook may have the signs in its name that mean something in an address."""
    found = ask(notebook(name))
    path = unquote(urlsplit(found.default_url or "").path)
    assert path == f"/notebooks/{unquote(name)}", f"notebook={name} gives {found}, whose path is {path}"
    assert "%" not in unquote(name) or "%25" in (found.default_url or ""), f"{found.default_url} is no address"


@pytest.mark.known_defect("needs_gpu=false and needs_gpu=0 give a GPU")
@pytest.mark.parametrize("value", REFUSALS)
def test_who_refuses_a_gpu_gets_none(ask: Ask, value: str) -> None:
    """Whoever says that no GPU is needed gets none."""
    found = ask(refusal(value))
    assert not found.error, f"needs_gpu={value} gives {found}"
    assert not found.gpus, f"needs_gpu={value} gives {found}"


@pytest.mark.known_defect("a student may run any tag of the private registry")
def test_students_may_not_choose_any_tag(ask: Ask) -> None:
    """A student's link runs no image but a course's."""
    found = ask(EXPERIMENT)
    assert found.tag != "somebodys-experiment", f"tag=somebodys-experiment gives {found}"


@pytest.mark.known_defect("a course that is no text ends in a server error")
@pytest.mark.parametrize("course", NO_TEXTS, ids=["null", "list", "number"])
def test_course_that_is_no_text(ask: Ask, course: object) -> None:
    """Whatever the REST API is given for a course, the spawner does not fail."""
    found = ask(options(course))
    assert not found.error, f"user_options.course = {course!r} gives {found}"


@pytest.mark.known_defect("the hub's database is not upgraded: a JupyterHub with new migrations will not start")
def test_hub_upgrades_its_database(cluster: Cluster, hub: Hub) -> None:
    """A hub whose JupyterHub is newer than its database brings the database up to date."""
    container = cluster.deployment(hub.namespace, "hub")["spec"]["template"]["spec"]["containers"][0]
    assert "--upgrade-db" in container["args"], f"the hub starts with {' '.join(container['args'])}"


@pytest.mark.known_defect("the form takes any course and opens the default one without a word")
def test_form_refuses_a_course_that_there_is_none_of(ask: Ask) -> None:
    """An author who mistypes a course is told so."""
    found = ask(MISTYPED)
    assert found.error or found.tag != DEFAULT_COURSE, f"the form gives {found}"


@pytest.mark.known_defect("/hub/login loses course and notebook")
def test_login_page_keeps_the_link(visit: Callable[[], Student]) -> None:
    """Whoever arrives by /hub/login keeps course and notebook."""
    student = visit()
    student.open(f"/hub/login?course={PLAIN}&notebook=A.ipynb")
    spawns = [hop.url for hop in student.journey.hops if hop.url.startswith("/hub/spawn")]
    assert spawns, f"no server is asked for:\n{student.journey}"
    assert all("notebook=A.ipynb" in url for url in spawns), f"the query got lost:\n{student.journey}"


@pytest.mark.known_defect("after a failover of Postgres one newcomer sees an error: the hub is in a transaction")
@pytest.mark.touches("Postgres")
@pytest.mark.usefixtures("no_pending_deletions", "background_opened")
def test_newcomer_after_a_failover_of_postgres(visit: Callable[[], Student], database: Postgres) -> None:
    """The first newcomer after a failover of Postgres gets a server, whatever the hub did last."""
    before, newcomer = visit(), visit()
    before.open("/tmplogin")

    def in_transaction() -> bool | NotYet:
        before.get("/hub/home")
        return bool(database.open_transactions()) or NotYet("the hub's session is at rest")

    # One that is always at rest has the defect no more.
    with suppress(TooLateError):
        wait_until("a hub in the middle of a transaction", in_transaction, timeout=10)
    database.fail_over()
    page = newcomer.get("/hub/tmplogin")
    assert page.is_redirect, f"after a failover of Postgres a newcomer gets {page.status_code}"
