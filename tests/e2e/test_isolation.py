"""Students are alone: nobody reaches another's server, files, API or tokens, and strangers see no numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.base import http
from harness.hub.api import Hub
from harness.people.journey import JourneyError
from harness.people.link import EXAMPLE
from harness.scenarios.ahead import Arrival

COURSE = EXAMPLE.course
two = pytest.mark.students(**dict.fromkeys(["one", "other"], f"/tmplogin?course={COURSE}"))
"""Two students with a server each."""
OF_ANOTHER_HOST = {"Origin": "https://elsewhere.mit.edu", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}
"""Headers that a browser adds to the requests of another host's page. To a host of the same domain it sends the cookies
too, whatever their SameSite says."""
CLUSTER_KEY = "/var/run/secrets/kubernetes.io"
"""Where Kubernetes mounts a pod's token."""


@two
def test_nobody_reaches_anothers_server(arrivals: Mapping[str, Arrival], hub: Hub) -> None:
    """A student's cookies and token open neither another's files, nor their user, nor their tokens."""
    one, other = arrivals["one"].arrived, arrivals["other"].arrived
    other.server.write("private.txt", "not for you")
    forbidden = {
        "files": f"/user/{other.name}/api/contents/private.txt",
        "server": f"/user/{other.name}/api/status",
        "user": f"/hub/api/users/{other.name}",
        "tokens": f"/hub/api/users/{other.name}/tokens",
    }
    with http.Client(base_url=hub.url, headers={"Authorization": f"token {one.token}"}, timeout=30) as with_token:
        for what, path in forbidden.items():
            for how, answer in (("cookies", one.get(path)), ("token", with_token.get(path))):
                assert not answer.is_success, f"a student's {how} open another's {what}: {path} {answer.status_code}"
        # What a student may list is themselves.
        listed = with_token.get("/hub/api/users")
    seen = {user["name"] for user in listed.json()} if listed.is_success else set()
    assert seen <= {one.name}, f"a student may list others: {sorted(seen - {one.name})}"
    page = f"/user/{other.name}/tree"
    with pytest.raises(JourneyError, match="ended in an error page: 403"):
        pytest.fail(f"a student's browser opens another's server: {one.open(page).url}")
    mine = other.server.contents("private.txt")
    assert mine.status_code == 200, f"the student's own file answers {mine.status_code}"


@two
def test_no_key_to_the_cluster_in_a_server(arrivals: Mapping[str, Arrival]) -> None:
    """A student's server has no token of the cluster."""
    with arrivals["one"].arrived.server.kernel() as kernel:
        found = kernel.run(f"import os; print(os.path.exists({CLUSTER_KEY!r}))").stdout.strip()
    assert found == "False", f"a student's server has the cluster's token in {CLUSTER_KEY}, expected nothing there"


@two
def test_nobody_stops_anothers_server(arrivals: Mapping[str, Arrival], hub: Hub) -> None:
    """A student can neither stop another's server nor delete their user."""
    one, other = arrivals["one"].arrived, arrivals["other"].arrived
    with http.Client(base_url=hub.url, headers={"Authorization": f"token {one.token}"}, timeout=30) as with_token:
        for path in (f"/hub/api/users/{other.name}/server", f"/hub/api/users/{other.name}"):
            answer = with_token.delete(path)
            assert answer.is_error, f"a student may DELETE {path}: {answer.status_code}"
    assert hub.users()[other.name]["servers"], "the other's server is gone"


@two
def test_pages_of_other_hosts_write_nothing(arrivals: Mapping[str, Arrival]) -> None:
    """A page of another host, in a student's own browser, cannot write into their server."""
    one = arrivals["one"].arrived
    model = {"type": "file", "format": "text", "content": "from elsewhere"}
    path = f"/user/{one.name}/api/contents/elsewhere.txt"
    written = one.call("PUT", path, headers=OF_ANOTHER_HOST, json=model)
    assert written.status_code == 403, (
        f"a page of another host writes a file: {written.status_code}, expected 403; "
        "see ServerApp.disable_check_xsrf and allow_origin"
    )


@pytest.mark.parametrize("path", ["/hub/metrics", "/hub/api/users", "/hub/api/services", "/hub/api/proxy"])
def test_strangers_see_no_numbers(hub: Hub, authoring_hub: Hub, path: str) -> None:
    """Who is not logged in gets no metrics and no API."""
    for each in (hub, authoring_hub):
        answer = http.get(f"{each.url}{path}")
        assert answer.status_code in (401, 403), f"{each.release}: {path} answers a stranger {answer.status_code}"
