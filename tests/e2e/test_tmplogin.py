"""The link in a course: /tmplogin?course=…&notebook=… and what a student finds behind it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest

from harness.base import http
from harness.base.timeline import UUID
from harness.cluster.kind import Cluster
from harness.courses.images import MARKER
from harness.hub.api import Hub
from harness.people.browser import Browser
from harness.people.journey import Page
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.plan.plan import Plan
from harness.scenarios.ahead import Arrival
from harness.services.registry import Registry

COURSE, NOTEBOOK = EXAMPLE.course, EXAMPLE.notebook
DAY = 24 * 3600.0

FORMS = [
    "/tmplogin?course=Supervised_Learning_Fundamentals&notebook=a%26b.ipynb",
    "/hub/tmplogin?course=Supervised_Learning_Fundamentals&notebook=a%26b.ipynb",
    "/tmplogin?notebook=a%26b.ipynb&course=supervised_learning_fundamentals",
    "/tmplogin?course=supervised_learning_fundamentals&notebook=lectures/lecture1/regression.ipynb",
    "/tmplogin?course=supervised_learning_fundamentals",
]


@pytest.mark.students(anybody=str(EXAMPLE))
def test_link_opens_the_notebook_and_its_cells_run(
    arrivals: Mapping[str, Arrival], cluster: Cluster, registry: Registry, plan: Plan
) -> None:
    """A course link opens its notebook in the course's own image; every cell of it runs, and it can be saved."""
    student, page = arrivals["anybody"].arrived, arrivals["anybody"].page
    EXAMPLE.check(student, cluster, registry)
    assert page.path == f"/user/{student.name}/notebooks/{NOTEBOOK}", f"the link ended elsewhere: {page.url}"

    notebook = nbformat.read(plan.checkout / "courses" / COURSE / NOTEBOOK, as_version=4)
    with student.server.kernel(NOTEBOOK) as kernel:
        marker = kernel.run(f"open({MARKER!r}).read().strip()").value
        assert marker == repr(COURSE), f"expected the image of {COURSE}, found the marker {marker} in {MARKER}"
        results = [kernel.run(cell.source).value for cell in notebook.cells if cell.cell_type == "code"]
    r2 = float(results[-2])
    assert 0.9 < r2 < 1, f"the regression ran, but explains {r2} of the variance where its data give over 0.9"

    student.server.save(NOTEBOOK)


@pytest.mark.students(anybody="{link}")
@pytest.mark.parametrize("link", FORMS)
def test_each_hop_keeps_course_and_notebook(arrivals: Mapping[str, Arrival], link: str) -> None:
    """Every published form of the link leads, hop by hop and with nothing lost, to the student's own server."""
    student, page = arrivals["anybody"].person, arrivals["anybody"].page

    assert re.fullmatch(UUID, student.name), f"expected a random UUID as the student's name, found {student.name!r}"
    places = [re.sub(UUID, "UUID", urlsplit(hop.url).path) for hop in student.journey.hops]
    expected = ["/hub/tmplogin", "/hub/spawn", "/hub/spawn-pending/UUID", "/user/UUID/"]
    visited = iter(places)
    lost = [place for place in expected if place not in visited]
    assert not lost, f"the journey misses {lost[0]}:\n{student.journey}"

    asked = parse_qs(urlsplit(link).query)
    for hop in student.journey.hops[: places.index("/user/UUID/")]:
        carried = parse_qs(urlsplit(hop.url).query)
        assert {name: carried.get(name) for name in asked} == asked, (
            f"the query got lost on the way to {hop.url}:\n{student.journey}"
        )
    for name in asked.get("notebook", []):
        assert page.path == f"/user/{student.name}/notebooks/{name}", f"the link ended elsewhere: {page.url}"


@pytest.mark.parametrize("link", ["/tmplogin", "/hub/tmplogin"])
def test_link_without_a_query_lets_the_visitor_in(visit: Callable[[], Student], link: str) -> None:
    """Without a query too, the visitor is a user: they are asked for a course, or get the default one."""
    student = visit()
    page = student.open(link)
    assert page.path == "/hub/spawn" or page.path.startswith("/user/"), f"{link} ends at {page.path}"
    user = student.whoami()
    assert re.fullmatch(UUID, user), f"after {link} the visitor is {user!r}, expected a random UUID"


@pytest.mark.students(anybody=str(EXAMPLE))
def test_nothing_is_asked_on_the_way(arrivals: Mapping[str, Arrival]) -> None:
    """Between the link and the notebook there is no login form, no control panel and nothing to press."""
    student, page = arrivals["anybody"].person, arrivals["anybody"].page
    assert page.path.startswith(f"/user/{student.name}/"), f"the link ended at {page.path}"
    places = [urlsplit(hop.url).path for hop in student.journey.hops]
    in_the_way = [place for place in places if place in ("/hub/login", "/hub/home", "/hub/spawn-form")]
    assert not in_the_way, f"the student is sent to {in_the_way[0]}:\n{student.journey}"
    pages = [hop for hop in student.journey.hops if hop.status == 200]
    assert urlsplit(pages[0].url).path.startswith("/hub/spawn-pending/"), (
        f"the first page that the student sees is {pages[0].url}, which is not the progress of the spawn"
    )


@pytest.mark.students(anybody=str(EXAMPLE), cookies=str(EXAMPLE))
def test_visitors_share_nothing(arrivals: Mapping[str, Arrival], hub: Hub) -> None:
    """Two visitors of one link are two users, with servers, cookies and names of their own."""
    one, other = arrivals["anybody"].person, arrivals["cookies"].person
    assert one.name != other.name, f"two visitors are both {one.name}"
    users = hub.users()
    for student in (one, other):
        assert student.name in users, f"the hub does not know {student.name}"
        assert not users[student.name]["admin"], f"{student.name}, a visitor, is an admin"
    shared = {cookie.value for cookie in one.cookies.jar} & {cookie.value for cookie in other.cookies.jar}
    assert not shared, f"{len(shared)} cookies are the same for two visitors"


def visit_again(student: Student) -> tuple[str, Page]:
    """Follow another link; return the user of the first visit, and where the second one ends."""
    return student.name, student.open(str(EXAMPLE))


@pytest.mark.students(own=f"/tmplogin?course={COURSE}")
@pytest.mark.does(own=visit_again)
def test_second_visit_is_a_new_user(arrivals: Mapping[str, Arrival], deleted_after: Callable[[str], None]) -> None:
    """A second visit from the same browser is a new user, and the link works again."""
    student = arrivals["own"].arrived
    first, page = arrivals["own"].did
    deleted_after(first)
    assert student.name != first, f"the second visit came as the same user, {first}"
    assert page.path.startswith(f"/user/{student.name}/"), f"the second visit ended at {page.path}"


@pytest.mark.students(cookies=str(EXAMPLE))
def test_cookies_live_for_a_day(arrivals: Mapping[str, Arrival]) -> None:
    """The three cookies of a student's session are there and live for one day."""
    arrival = arrivals["cookies"]
    assert arrival.page.status == 200, f"the link ended in {arrival.page.status}"
    lifetimes = {
        cookie.name: cookie.expires and cookie.expires - arrival.person.began
        for cookie in arrival.person.cookies.jar
        if cookie.path in ("/", "/hub/") and cookie.name in ("jupyterhub-session-id", "jupyterhub-hub-login", "_xsrf")
    }
    missing = {"jupyterhub-session-id", "jupyterhub-hub-login", "_xsrf"} - set(lifetimes)
    assert not missing, f"the student has no cookie {' and no '.join(sorted(missing))}"
    for name, seconds in lifetimes.items():
        assert seconds, f"{name} ends with the browser, expected a life of one day"
        assert 0.95 * DAY < seconds < 1.05 * DAY, f"{name} lives for {seconds / DAY:.2f} days, expected 1.00"


def test_long_headers_are_accepted(hub: Hub) -> None:
    """A request with 31 KB of cookies, as a learner who has been around has them, is answered."""
    cookies = "; ".join(f"learn-{number}={'x' * 1000}" for number in range(31))
    answer = http.get(f"{hub.url}/hub/health", headers={"Cookie": cookies})
    assert answer.status_code == 200, (
        f"the proxy answers {answer.status_code} to {len(cookies)} bytes of headers: it must take 32 KB "
        "(NODE_OPTIONS=--max-http-header-size=32768)"
    )


def test_health_and_logo(hub: Hub) -> None:
    """The hub says that it is healthy, and shows the logo, to anybody."""
    health = http.get(f"{hub.url}/hub/health")
    assert health.status_code == 200, f"/hub/health answers {health.status_code}"
    logo = http.get(f"{hub.url}/hub/logo")
    assert logo.status_code == 200, f"/hub/logo answers {logo.status_code}"
    assert b"MIT" in logo.content or logo.headers["content-type"].startswith("image/"), "the logo is no picture"
    theirs = http.get(f"{hub.url}/hub/static/images/jupyterhub-80.png")
    assert logo.content != theirs.content, "the logo is JupyterHub's own, not MIT's"


@pytest.mark.students(anybody=str(EXAMPLE))
def test_logo_leads_to_the_dashboard(arrivals: Mapping[str, Arrival]) -> None:
    """The logo on the hub's pages leads back to the learner's dashboard."""
    assert arrivals["anybody"].page.status == 200, f"the link ended in {arrivals['anybody'].page.status}"
    home = arrivals["anybody"].person.call("GET", "/hub/home")
    links = re.findall(r'<a[^>]*href="([^"]*)"[^>]*>\s*<img[^>]*logo', home.text)
    assert links, f"no link around the logo on /hub/home ({home.status_code})"
    assert urlsplit(links[0]).path == "/dashboard", f"the logo leads to {links[0]}"
    assert (urlsplit(links[0]).hostname or "").endswith("learn.mit.edu"), f"the logo leads to {links[0]}"


@pytest.mark.students(own=f"/tmplogin?course={COURSE}")
def test_logout(arrivals: Mapping[str, Arrival]) -> None:
    """Who logs out is nobody again: the hub no longer knows them."""
    student = arrivals["own"].arrived
    before = student.get("/hub/home")
    assert before.status_code == 200, f"logged in, /hub/home answers {before.status_code}"
    out = student.get("/hub/logout")
    assert out.status_code in (200, 302), f"/hub/logout answers {out.status_code}"
    after = student.get("/hub/home")
    assert after.is_redirect, f"logged out, /hub/home still answers {after.status_code}"


@pytest.mark.opens(anybody=str(EXAMPLE))
def test_browser_shows_the_notebook(browser: Browser) -> None:
    """In a real browser, a course link ends with the notebook on screen and no error dialog."""
    shown = browser.wait_for_notebook("the notebook's first heading")
    assert "linear regression" in shown, f"another notebook is on screen, with the heading {shown!r}"
    dialogs = browser.texts(".jp-Dialog-header")
    assert not dialogs, f"a dialog is in the way: {dialogs}"
