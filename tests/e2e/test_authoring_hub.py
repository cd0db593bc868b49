"""The authors' hub: one shared password, a form that asks for the course, and a bucket to publish to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness.base import http
from harness.cluster.kind import Cluster
from harness.courses.images import MARKER
from harness.hub.api import Hub
from harness.people.author import NAME, Author
from harness.people.browser import Browser
from harness.people.kernel import CellError
from harness.people.link import EXAMPLE
from harness.plan.contract import COURSE_REPOSITORY
from harness.scenarios.ahead import Arrival
from harness.services.aws import Aws

AtWork = Callable[[str], Author]
COURSE = EXAMPLE.course
PUBLISH = """
import os, urllib.request
where = f"{endpoint}/{os.environ['NOTEBOOK_BUCKET']}/drafts/lecture.ipynb"
headers = {
    "Content-Type": "application/x-ipynb+json",
    "Authorization": "AWS4-HMAC-SHA256 Credential=it/20260101/us-east-1/s3/aws4_request, Signature=0",
}
urllib.request.urlopen(urllib.request.Request(where, data=b"a draft", headers=headers, method="PUT")).status
"""


def test_form_gives_the_courses_image(author_at_work: AtWork, cluster: Cluster) -> None:
    """An author logs in by the shared password, fills in the form, and works in the course's image."""
    author = author_at_work(COURSE.upper())
    assert author.name == NAME, f"the author is {author.name}"
    pod = cluster.server_pod(author.hub.namespace, NAME)
    running = pod.spec.containers[0].image
    assert running == f"{COURSE_REPOSITORY}:{COURSE}", f"the form was sent with {COURSE}, and {running} runs"
    with author.server.kernel() as kernel:
        marker = kernel.run(f"print(open({MARKER!r}).read().strip())").stdout.strip()
    assert marker == COURSE, f"the author works in the image of {marker}"


def test_author_publishes_to_the_bucket(author_at_work: AtWork, aws_in_cluster: str, aws: Aws) -> None:
    """Authors have the extension that publishes, and what their kernel writes to the courses' bucket is there."""
    author = author_at_work(COURSE.upper())
    off = author.server.page_config()["disabledExtensions"]
    assert "ol-jupyter-authoring" not in off, f"the authors' extension is off, and with it {off}"
    with author.server.kernel() as kernel:
        bucket = kernel.run("import os; print(os.environ['NOTEBOOK_BUCKET'])").stdout.strip()
        assert bucket.startswith("jupyter-courses-"), f"NOTEBOOK_BUCKET is {bucket!r}"
        aws.s3.create_bucket(Bucket=bucket)
        kernel.run(f"endpoint = {aws_in_cluster!r}")
        try:
            kernel.run(PUBLISH)
        except CellError as error:
            pytest.fail(f"an author's kernel cannot write to {bucket}: {error}")
    found = aws.s3.get_object(Bucket=bucket, Key="drafts/lecture.ipynb")["Body"].read()
    assert found == b"a draft", f"the bucket has {found!r}"


@pytest.mark.students(anybody=str(EXAMPLE))
def test_author_has_the_service_account(
    author_at_work: AtWork, arrivals: Mapping[str, Arrival], cluster: Cluster
) -> None:
    """An author's server runs under the service account that may write to the bucket; a student's does not."""
    author = author_at_work(COURSE.upper())
    pod = cluster.server_pod(author.hub.namespace, NAME)
    assert pod.spec.service_account_name == "jupyterhub-service-account", (
        f"the author's server runs under the account {pod.spec.service_account_name}"
    )
    student = arrivals["anybody"].arrived
    account = cluster.server_pod(student.hub.namespace, student.name).spec.service_account_name
    assert account in (None, "default"), f"a student's server runs under the account {account}"


@pytest.mark.parametrize(
    ("name", "right"),
    [(NAME, False), ("somebody", True), ("jovyan", False)],
    ids=["wrong password", "stranger", "both"],
)
def test_strangers_are_refused(author: Author, password: str, name: str, right: bool) -> None:
    """Nobody gets in but the authors' one user with the shared password."""
    status = author.log_in(password if right else "not-the-password-" * 3, name)
    assert status == 403, f"{name} with {'the' if right else 'a wrong'} password gets {status}, expected 403"
    assert author.get("/hub/home").is_redirect, f"{name} was refused, and /hub/home opens all the same"


def test_no_tmplogin(authoring_hub: Hub) -> None:
    """There is no tmplogin on the authors' hub: a learner's link does not let anybody in."""
    for path in ("/tmplogin", "/hub/tmplogin"):
        answer = http.get(f"{authoring_hub.url}{path}?course={COURSE}", follow_redirects=True)
        inside = "/user/" in str(answer.url) or "spawn-pending" in str(answer.url)
        assert not inside, f"{path} on the authors' hub lets a visitor in, to {answer.url}"
        assert answer.status_code < 500, f"{path} on the authors' hub ends in {answer.status_code}, expected a refusal"


def test_authors_have_all_menus(browser: Browser, author: Author, password: str) -> None:
    """Authors have the menus that students do not."""
    browser.open(f"{author.hub.url}/hub/login")
    browser.fill("username_input", NAME)
    browser.fill("password_input", password)
    browser.press("#login_submit, input[type=submit], button[type=submit]")
    browser.wait_for("the form", "[name=course]")
    browser.fill("course", COURSE)
    browser.press("form input[type=submit], form button[type=submit]")
    browser.wait_for("the author's first page", ".jp-NotebookSpacer, .jp-FileBrowser, .jp-DirListing", 120)
    browser.open(f"{author.hub.url}/user/{NAME}/notebooks/lectures/lecture1/regression.ipynb")
    browser.wait_for_notebook()
    menus = set(browser.texts(".lm-MenuBar-itemLabel"))
    missing = {"File", "Edit", "View", "Run", "Kernel", "Settings", "Help"} - menus
    assert not missing, f"authors miss the menus {sorted(missing)}; there are {sorted(menus)}"
