"""A visitor's journey, through a hub that is a list of answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from harness.base.errors import HarnessError
from harness.base.timeline import Timeline
from harness.people import journey
from harness.people.journey import JourneyError, SpawnError, user_in
from harness.people.kernel import CellError
from harness.people.student import Student
from tests.unit.people.conftest import never_stuck
from tests.unit.people.fake_hub import LINK, NAME, PENDING, PROGRESS, READY, SERVER, Answer, FakeHub, event


class TestLink:
    def test_ends_on_the_page(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(lines=READY)
        student = visit()
        page = student.open(LINK)
        assert (page.path, page.status, page.text) == (SERVER, 200, "a notebook")
        assert student.name == NAME
        assert [phase.name for phase in student.journey.phases] == ["login", "spawn", "page"]

    def test_every_hop_is_recorded(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(lines=READY)
        student = visit()
        student.open(LINK)
        assert [(hop.status, hop.url, hop.location) for hop in student.journey.hops] == [
            (302, LINK, "/hub" + LINK),
            (302, "/hub" + LINK, "spawn?course=clustering"),
            (302, "/hub/spawn?course=clustering", PENDING),
            (200, PENDING, None),
            (302, PENDING, SERVER),
            (200, SERVER, None),
        ]
        first, *_, last = str(student.journey).splitlines()
        assert first.startswith(f"302 {LINK} -> /hub{LINK} (")
        assert last == "    Up"

    def test_a_hop_has_what_went_over_the_wire(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(lines=READY)
        student = visit()
        before = time.time()
        student.open(LINK)
        hop = student.journey.hops[-1]
        assert before <= hop.at <= time.time()
        assert (hop.method, hop.size) == ("GET", len("a notebook"))
        assert ("cookie", "_xsrf=crumb") in student.journey.hops[3].request_headers
        assert ("set-cookie", "_xsrf=crumb; Path=/hub/") in student.journey.hops[1].response_headers
        assert "crumb" not in repr(student.journey)

    def test_a_server_that_is_up_already(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays()
        fake.answers["/hub/spawn"] = [Answer(302, to=SERVER)]
        assert visit().open(LINK).path == SERVER
        assert not [path for _, path in fake.asked if path.startswith(PROGRESS)]

    def test_a_path_is_decoded(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays()
        fake.answers["/tmplogin"] = [Answer(302, to="/a%20b?c=%20")]
        fake.answers["/a%20b"] = [Answer()]
        page = visit().open("/tmplogin")
        assert (page.path, page.url) == ("/a b", "/a%20b?c=%20")

    @pytest.mark.parametrize("end", ["/hub/home", "/hub/spawn"])
    def test_a_course_link_that_starts_no_server(self, fake: FakeHub, visit: Callable[..., Student], end: str) -> None:
        """As with redirect_to_server = False, or a link whose course is lost on the way."""
        fake.plays()
        fake.answers["/hub/tmplogin"] = [Answer(302, to=end)]
        fake.answers[end] = [Answer(lines=["My Server"])]
        student = visit()
        with pytest.raises(JourneyError) as error:
            student.open(LINK)
        first, *hops = str(error.value).splitlines()
        assert first.startswith(f"{LINK} ended at {fake.hub.url}{end}: no server was started for it, expected a page ")
        assert len(hops) == 3
        assert student.name == ""

    def test_a_server_whose_page_leads_elsewhere_was_started(
        self, fake: FakeHub, visit: Callable[..., Student]
    ) -> None:
        fake.plays(lines=READY)
        fake.answers[PENDING][-1].to = "/elsewhere"
        fake.answers["/elsewhere"] = [Answer()]
        assert visit().open(LINK).path == "/elsewhere"

    @pytest.mark.parametrize("status", [404, 500])
    def test_error_page(self, fake: FakeHub, visit: Callable[..., Student], status: int) -> None:
        fake.plays()
        fake.answers["/hub/spawn"] = [Answer(status)]
        with pytest.raises(JourneyError) as error:
            visit().open(LINK)
        first, *hops = str(error.value).splitlines()
        assert first == f"{LINK} ended in an error page: {status} for /hub/spawn"
        assert len(hops) == 3
        assert hops[-1].startswith(f"{status} /hub/spawn?course=clustering (")

    def test_redirects_without_end(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.answers["/tmplogin"] = [Answer(302, to="/tmplogin")]
        student = visit()
        with pytest.raises(JourneyError, match=rf"\A{LINK.replace('?', '.')} has no end: 20 hops\n302 /tmplogin"):
            student.open(LINK)
        assert len(student.journey.hops) == journey.MAX_HOPS

    @pytest.mark.parametrize("place", ["https://jupyter.example/hub/", "//jupyter.example/", "http://127.0.0.1:1/"])
    def test_a_link_that_leaves_the_hub_is_not_followed(
        self, fake: FakeHub, visit: Callable[..., Student], place: str
    ) -> None:
        """It may lead to production."""
        fake.answers["/tmplogin"] = [Answer(302, to=place)]
        with pytest.raises(JourneyError, match=r"leaves the hub, for https?://.*\n302 /tmplogin"):
            visit().open(LINK)


def test_a_hop_is_recorded_in_full(fake: FakeHub, visit: Callable[..., Student]) -> None:
    fake.answers["/hub/home"] = [Answer(200, cookie="a=b; Path=/", lines=["hello"])]
    student, before = visit(), time.time()
    student.get("/hub/home?x=1", headers={"X-Mine": "yes"})
    [hop] = student.journey.hops
    assert (hop.method, hop.url, hop.status, hop.size) == ("GET", "/hub/home?x=1", 200, 5)
    assert before <= hop.at <= time.time()
    assert ("x-mine", "yes") in [(name.lower(), value) for name, value in hop.request_headers]
    assert ("set-cookie", "a=b; Path=/") in [(name.lower(), value) for name, value in hop.response_headers]
    assert "a=b" not in repr(hop)


class TestTimeline:
    def test_the_whole_way_is_told_under_one_name(self, fake: FakeHub) -> None:
        """The hub names a student on the way, and another at a second visit: whoever asks for one gets all."""
        fake.plays(lines=READY)
        timeline = Timeline()
        student = Student(fake.hub, never_stuck, timeline)
        student.open(LINK)
        assert NAME in student.aliases
        moments = timeline.slice(student.began, time.time(), student.aliases)
        assert [re.sub(r" \(?[\d.]+ s\)?$", "", f"{moment.source}: {moment.text}") for moment in moments] == [
            f"http: GET 302 {LINK} -> /hub{LINK}",
            f"http: GET 302 /hub{LINK} -> spawn?course=clustering",
            f"http: GET 302 /hub/spawn?course=clustering -> {PENDING}",
            f"http: GET 200 {PENDING}",
            f"test: login of {NAME}:",
            "spawn: Server requested",
            "spawn: Up",
            f"test: spawn of {NAME}:",
            f"http: GET 302 {PENDING} -> {SERVER}",
            f"http: GET 200 {SERVER}",
            f"test: page of {NAME}:",
        ]
        assert not timeline.slice(0, time.time(), {"other"})
        student.close()

    def test_no_answer_is_told_too(self, fake: FakeHub) -> None:
        timeline = Timeline()
        student = Student(fake.hub, never_stuck, timeline)
        fake.answers["/tmplogin"] = [Answer(drops=True)]
        with pytest.raises(httpx.HTTPError):
            student.get(LINK)
        [moment] = timeline.slice(0, time.time(), student.aliases)
        assert moment.text == f"GET {LINK}: Server disconnected without sending a response."
        student.close()


class TestSpawn:
    def test_progress_is_kept_as_the_page_shows_it(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(lines=READY)
        student = visit()
        student.open(LINK)
        assert student.journey.progress == ["Server requested", "Up"]
        assert ("GET", f"{PROGRESS}?_xsrf=crumb") in fake.asked

    @pytest.mark.parametrize(
        ("cause", "named"),
        [(None, "no cause named by Kubernetes; the hub says: Spawn failed"), ("OOMKilled", "OOMKilled")],
    )
    def test_failed(self, fake: FakeHub, visit: Callable[..., Student], cause: str | None, named: str) -> None:
        messages = [event(message=text) for text in ("one", "two", "three")]
        # The cause is there only once the hub has given up.
        fake.plays(lines=[*messages, event(failed=True, message="Spawn failed")])
        student: Student = visit(lambda user: lambda: cause if "Spawn failed" in student.journey.progress else None)
        with pytest.raises(SpawnError) as error:
            student.open(LINK)
        first, second = str(error.value).splitlines()
        assert first.startswith(f"The server of student {NAME} did not come up within 0.")
        assert first.endswith(f" s: {named}.")
        assert second == "The hub's messages: two | three | Spawn failed"

    @pytest.mark.parametrize("line", [event(message="Pulling"), ":keepalive\n\n"])
    def test_fails_as_soon_as_kubernetes_names_a_cause(
        self, fake: FakeHub, visit: Callable[..., Student], line: str
    ) -> None:
        fake.plays(lines=[line], hangs=True)
        asked = []

        def stuck(user: str) -> Callable[[], str | None]:
            asked.append(user)
            return lambda: "pod jupyter-7c1e: ImagePullBackOff"

        started = time.monotonic()
        with pytest.raises(SpawnError, match=r"did not come up within .*: pod jupyter-7c1e: ImagePullBackOff\."):
            visit(stuck).open(LINK)
        assert time.monotonic() - started < 5
        assert asked == [NAME]

    def test_takes_too_long(
        self, fake: FakeHub, visit: Callable[..., Student], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journey, "SPAWN_TIMEOUT", 0.0)
        fake.plays(lines=[event(message="Pulling")], hangs=True)
        with pytest.raises(SpawnError, match="did not come up within"):
            visit().open(LINK)

    def test_no_verdict(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(lines=[event(message="Pulling")])
        with pytest.raises(SpawnError, match=f"ended the progress of student {NAME}'s server without a verdict"):
            visit().open(LINK)

    def test_a_hub_that_breaks_off_is_asked_again(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(lines=[event(message="Pulling")])
        fake.answers[PROGRESS].append(Answer(lines=[event(failed=True, message="Spawn failed: (403)")]))
        with pytest.raises(SpawnError, match=r"the hub says: Spawn failed: \(403\)"):
            visit().open(LINK)

    @pytest.mark.parametrize(
        ("progress", "words"),
        [
            ({"drops": True}, "Server disconnected without sending a response."),
            (
                {"lines": [event(message="Pulling")], "promised": 1000},
                "peer closed connection without sending complete",
            ),
        ],
        ids=["at once", "on the way"],
    )
    def test_the_hub_goes_away(
        self, fake: FakeHub, visit: Callable[..., Student], progress: dict[str, Any], words: str
    ) -> None:
        fake.plays(**progress)
        with pytest.raises(SpawnError) as error:
            visit().open(LINK)
        assert str(error.value).startswith(f"The hub went away while student {NAME}'s server came up, after 0.")
        assert f" s: {words}" in str(error.value)

    def test_progress_refused(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(status=403, lines=["XSRF cookie does not match"])
        with pytest.raises(SpawnError, match=f"student {NAME}'s server: 403 XSRF cookie does not match"):
            visit().open(LINK)

    def test_no_cookie(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(lines=READY)
        fake.answers["/hub/tmplogin"][0].cookie = "_xsrf=crumb; Path=/elsewhere/"
        with pytest.raises(JourneyError, match=f"student {NAME} has no _xsrf cookie for /hub/"):
            visit().open(LINK)


class TestName:
    def test_one_without_a_server_is_a_user_too(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.answers["/hub/home"] = [Answer(200, cookie="_xsrf=crumb; Path=/hub/")]
        fake.answers["/hub/api/user"] = [Answer(200, lines=[f'{{"name": "{NAME}"}}'])]
        student = visit()
        assert student.find_name() == "", "who was never there is nobody"
        student.get("/hub/home")
        assert [student.find_name(), student.find_name()] == [NAME, NAME]
        assert fake.asked.count(("GET", "/hub/api/user")) == 1

    @pytest.mark.parametrize(
        "answer",
        [Answer(403), Answer(drops=True), Answer(302, to="/login"), Answer(200, lines=["<html>"])],
        ids=["unknown", "gone", "at the login", "a page"],
    )
    def test_one_whom_the_hub_does_not_know(self, fake: FakeHub, visit: Callable[..., Student], answer: Answer) -> None:
        fake.answers["/hub/home"] = [Answer(200, cookie="_xsrf=crumb; Path=/hub/")]
        fake.answers["/hub/api/user"] = [answer]
        student = visit()
        student.get("/hub/home")
        assert student.find_name() == ""


class TestToken:
    def test_token_is_made_once(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(lines=READY)
        tokens = f"/hub/api/users/{NAME}/tokens"
        fake.answers[tokens] = [Answer(201, lines=['{"token": "abc"}'])]
        student = visit()
        student.open(LINK)
        assert [student.token, student.token] == ["abc", "abc"]
        assert fake.asked.count(("POST", tokens)) == 1
        assert fake.headers[tokens]["X-XSRFToken"] == "crumb"

    def test_no_token(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(lines=READY)
        student = visit()
        student.open(LINK)
        with pytest.raises(JourneyError, match=f"student {NAME} gets no token: 404 no such page"):
            _ = student.token


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("/user/7c1e/tree", "7c1e"),
        ("/user/7c1e", "7c1e"),
        ("/hub/spawn-pending/a%20b", "a b"),
        ("/hub/home", ""),
        ("/user/", ""),
    ],
)
def test_user_in(path: str, user: str) -> None:
    assert user_in(path) == user


@pytest.mark.parametrize("error", [JourneyError, SpawnError, CellError])
def test_all_are_for_people(error: type[Exception]) -> None:
    assert issubclass(error, HarnessError)
