"""The notebook in the link: it is there and on screen, or the student and the test see that it is not.

The page itself proves nothing: it answers 200 for any path. What tells is the contents API, and the dialog on screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from fixtures.target import AskSpawner
from harness.cluster.kind import Cluster
from harness.hub.spawner_probe import Choice, Request
from harness.people.browser import Browser
from harness.people.journey import JourneyError
from harness.people.link import EXAMPLE, Link, NoNotebookError, WrongImageError
from harness.scenarios.ahead import Arrival
from harness.services.registry import Registry

COURSE, NOTEBOOK = EXAMPLE.course, EXAMPLE.notebook
WRONG_IMAGE, WRONG_PATH = Link("uai_source-uai.10", NOTEBOOK), Link(COURSE, "lectures/lecture1/Regression.ipynb")

OPENS = {
    "lectures%2Flecture1%2Fregression.ipynb": NOTEBOOK,
    "lectures/lecture1/regression.ipynb": NOTEBOOK,
    "practice%2FMy%20Notes.ipynb": "practice/My Notes.ipynb",
    "practice/My+Notes.ipynb": "practice/My Notes.ipynb",
    "practice%2FLogReg_%26_CART.ipynb": "practice/LogReg_&_CART.ipynb",
    "practice/%C3%A9t%C3%A9.ipynb": "practice/été.ipynb",
    "practice%2FWeek%202%2FDeep%2FTrees.ipynb": "practice/Week 2/Deep/Trees.ipynb",
}
DOES_NOT_OPEN = {
    "missing": "lectures/lecture1/missing.ipynb",
    "wrong case": "lectures%2Flecture1%2FRegression.ipynb",
    "wrong directory": "regression.ipynb",
    "encoded three times": "practice%25252FMy%252520Notes.ipynb",
    "another host": "%2F%2Fevil.example%2Fx.ipynb",
}
FOLLOWED = f"/tmplogin?course={COURSE}&notebook={{written}}"
OPENED_BY_ONE = {
    "practice%2FMy%20Notes.ipynb",
    "practice%2FLogReg_%26_CART.ipynb",
    "practice/%C3%A9t%C3%A9.ipynb",
    DOES_NOT_OPEN["missing"],
    DOES_NOT_OPEN["wrong directory"],
}
"""Notebooks whose pages, as the spawner gives them to a server, are opened by one student. What a link to such a name
does on its way is seen in the browser, or with another name of its kind."""
follows_what_is_written = pytest.mark.students(anybody=FOLLOWED)
LEADS_OUT = ["..%2Fpasswd.ipynb", "..%2F..%2Fetc%2Fpasswd.ipynb"]


def each(written: Mapping[str, str]) -> list[Any]:
    """Return the parameters of a test, each what is written in a link, by its name."""
    return [
        pytest.param(it, id=name, marks=pytest.mark.students(anybody=str(EXAMPLE) if it in OPENED_BY_ONE else FOLLOWED))
        for name, it in written.items()
    ]


@pytest.fixture(scope="module")
def choices(ask_spawner: AskSpawner) -> Mapping[str, Choice]:
    """What the spawner makes of the links that nobody follows, by what is written there."""
    written = sorted(OPENED_BY_ONE)
    asked = ask_spawner([Request(urlsplit(FOLLOWED.format(written=each)).query) for each in written])
    return dict(zip(written, asked, strict=True))


@pytest.fixture
def open_written(arrivals: Mapping[str, Arrival], written: str, request: pytest.FixtureRequest) -> Callable[[], str]:
    """A function that has the test's student open what is written in a link, and returns the path of the page."""

    def page() -> str:
        arrival = arrivals["anybody"]
        if written not in OPENED_BY_ONE:
            return arrival.page.path
        choice: Choice = request.getfixturevalue("choices")[written]
        assert choice.default_url, f"notebook={written} gives {choice}"
        answer = arrival.arrived.call("GET", f"/user/{arrival.person.name}{choice.default_url}", follow_redirects=True)
        return unquote(urlsplit(str(answer.url)).path)

    return page


@pytest.mark.parametrize("written", each({written: written for written in OPENS}))
def test_notebook_opens(arrivals: Mapping[str, Arrival], open_written: Callable[[], str], written: str) -> None:
    """However its path is written in the link, a notebook that is there opens."""
    path, student, opened = OPENS[written], arrivals["anybody"].person, open_written()
    assert opened == f"/user/{student.name}/notebooks/{path}", f"notebook={written} ended at {opened}"
    found = student.server.contents(path)
    assert found.status_code == 200, f"notebook={written}: the contents API says {found.status_code} of {path}"
    assert found.json()["type"] == "notebook", f"{path} is there, as a {found.json()['type']}"


@pytest.mark.parametrize("written", each(DOES_NOT_OPEN))
def test_notebook_that_is_not_there_is_a_404(
    arrivals: Mapping[str, Arrival], open_written: Callable[[], str], written: str
) -> None:
    """A notebook that is not there is a 404 of the contents API, and the student's server stays usable."""
    student, opened = arrivals["anybody"].person, open_written()
    own = f"/user/{student.name}/"
    assert opened.startswith(own), f"notebook={written} sends the student away from their server, to {opened}"
    assert opened.startswith(f"{own}notebooks/"), f"notebook={written} opens {opened}, where no notebook is"
    path = opened.removeprefix(f"{own}notebooks/")
    found = student.server.contents(path)
    assert found.status_code == 404, f"notebook={written}: expected 404 of {path}, found {found.status_code}"
    right = student.server.contents(NOTEBOOK)
    assert right.status_code == 200, f"after notebook={written} the right notebook answers {right.status_code}"


def opened_by(arrival: Arrival) -> str:
    """Where a link led; nothing for one whose student is told that it is not there."""
    try:
        page = arrival.page
    except JourneyError as error:
        return "" if "ended in an error page: 404" in str(error) else str(error)
    # A spawner may take the way out of the path: then the path names a notebook that is not there.
    before, inside, path = page.path.partition(f"/user/{arrival.person.name}/notebooks/")
    missing = inside and not before and arrival.person.server.contents(path).status_code == 404
    return "" if missing else page.url


@follows_what_is_written
@pytest.mark.parametrize("written", LEADS_OUT)
def test_path_out_of_the_home_directory_is_a_404(arrivals: Mapping[str, Arrival], written: str) -> None:
    """A path that leads out of the home directory opens nothing, and the student's server stays usable."""
    student, opened = arrivals["anybody"].person, opened_by(arrivals["anybody"])
    assert not opened, f"notebook={written} leads out of the home directory, and ended at {opened}"
    student.open(f"/user/{student.name}/notebooks/{NOTEBOOK}")
    right = student.server.contents(NOTEBOOK)
    assert right.status_code == 200, f"after notebook={written} the right notebook answers {right.status_code}"


@follows_what_is_written
@pytest.mark.parametrize("written", ["lectures/lecture1/regression.txt"])
def test_what_is_no_notebook_opens_the_first_page(arrivals: Mapping[str, Arrival], written: str) -> None:
    """A path that does not end in .ipynb opens the server's own first page, and no error."""
    student, page = arrivals["anybody"].person, arrivals["anybody"].page
    assert page.status == 200, f"the page answers {page.status}"
    assert page.path.startswith(f"/user/{student.name}/"), f"the link ended at {page.path}"
    assert "regression" not in page.path, f"a page for {page.path} opened, which is no notebook"


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        pytest.param(path, heading, marks=pytest.mark.opens(own=str(Link(COURSE, path))))
        for path, heading in {
            "practice/LogReg_&_CART.ipynb": "Logistic regression",
            "practice/été.ipynb": "Un été",
        }.items()
    ],
)
def test_right_notebook_is_on_screen(browser: Browser, path: str, heading: str) -> None:
    """What a student sees in the browser is the notebook that the link names."""
    shown = browser.wait_for_notebook(f"the heading of {path}")
    assert heading in shown, f"{path} shows the heading {shown!r}"


@pytest.mark.opens(own=str(Link(COURSE, "lectures/lecture1/missing.ipynb")))
def test_student_sees_that_a_notebook_is_missing(browser: Browser, evidence_dir: Path) -> None:
    """A student whose notebook is missing sees a dialog that names it; the right link then works."""
    title = browser.wait_for("the dialog about the missing notebook", ".jp-Dialog-header", instead=browser.another_page)
    browser.screenshot(evidence_dir / "missing.png")
    said = " ".join([title, *browser.texts(".jp-Dialog-body")])
    assert "missing.ipynb" in said, f"the dialog about the missing notebook does not name it: {said}"
    assert "404" in said, f"the dialog about the missing notebook does not say that it is not found: {said}"
    own = browser.driver.current_url.partition("/notebooks/")[0]
    browser.open(f"{own}/notebooks/{NOTEBOOK}")
    shown = browser.wait_for_notebook("the right notebook")
    assert "linear regression" in shown, f"the right link shows {shown!r}"


@pytest.mark.students(wrong_image=str(WRONG_IMAGE), anybody=str(WRONG_PATH))
def test_wrong_image_is_told_from_wrong_path(
    arrivals: Mapping[str, Arrival], cluster: Cluster, registry: Registry
) -> None:
    """The two symptoms that authors are told to look for are told apart, each with what to check."""
    with pytest.raises(WrongImageError, match=r"opened the image base_authoring_image, not uai_source-uai\.10"):
        WRONG_IMAGE.check(arrivals["wrong_image"].arrived, cluster, registry)
    with pytest.raises(NoNotebookError, match=r"Regression\.ipynb is not in it"):
        WRONG_PATH.check(arrivals["anybody"].arrived, cluster, registry)
