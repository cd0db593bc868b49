"""A student's journey, through a hub that is a list of answers."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from harness.base.errors import HarnessError
from harness.base.timeline import Timeline
from harness.hub.api import Hub
from harness.people import student as students
from harness.people.kernel import CellError
from harness.people.student import JourneyError, SpawnError, Student, WhyStuck

LINK = "/tmplogin?course=clustering&notebook=a%26b.ipynb"
NAME = "7c1e"
PENDING = f"/hub/spawn-pending/{NAME}"
PROGRESS = f"/hub/api/users/{NAME}/server/progress"
SERVER = f"/user/{NAME}/notebooks/a&b.ipynb"


@dataclass
class Answer:
    """What a path answers: `lines`, one by one.

    `hangs` keeps the connection open after them, `promised` is how long it says it is, and `drops` is no answer at all.
    """

    status: int = 200
    to: str = ""
    cookie: str = ""
    lines: list[str] = field(default_factory=list)
    hangs: bool = False
    promised: int = 0
    drops: bool = False


def event(**about: object) -> str:
    return f"data: {json.dumps(about)}\n\n"


class FakeHub:
    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str]] = []
        self.headers: dict[str, Any] = {}
        self.bodies: dict[str, bytes] = {}
        self.end = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.asked.append((self.command, self.path))
                path = self.path.partition("?")[0]
                hub.headers[path] = dict(self.headers)
                there = hub.answers.get(path, [Answer(404, lines=["no such page"])])
                answer = there.pop(0) if len(there) > 1 else there[0]
                if answer.drops:
                    return
                self.send_response(answer.status)
                if answer.promised:
                    self.send_header("Content-Length", str(answer.promised))
                if answer.to:
                    self.send_header("Location", answer.to)
                if answer.cookie:
                    self.send_header("Set-Cookie", answer.cookie)
                self.end_headers()
                for line in answer.lines:
                    self.wfile.write(line.encode())
                    self.wfile.flush()
                if answer.hangs:
                    hub.end.wait(30)

            def do_POST(self) -> None:
                hub.bodies[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.hub = Hub(url, "jupyter", "jupyterhub", "jupyterhub", "secret")

    def plays(self, **progress: Any) -> None:
        """The way of a link through the hub, with this for its progress."""
        self.answers = {
            "/tmplogin": [Answer(302, to="/hub" + LINK)],
            "/hub/tmplogin": [Answer(302, to="spawn?course=clustering", cookie="_xsrf=crumb; Path=/hub/")],
            "/hub/spawn": [Answer(302, to=PENDING)],
            PENDING: [Answer(lines=["your server is starting"]), Answer(302, to=SERVER)],
            PROGRESS: [Answer(**progress)],
            SERVER: [Answer(lines=["a notebook"])],
        }

    def close(self) -> None:
        self.end.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    fake = FakeHub()
    yield fake
    fake.close()


@pytest.fixture
def visit(fake: FakeHub) -> Iterator[Callable[..., Student]]:
    """A student who visits the hub."""
    visitors: list[Student] = []

    def visit(why_stuck: WhyStuck = lambda user: lambda: None) -> Student:
        visitors.append(Student(fake.hub, why_stuck))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.close()


READY = [event(progress=0, message="Server requested"), ":keepalive\n\n", event(progress=100, ready=True, message="Up")]


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
        page = visit().open(LINK)
        assert (page.path, page.url) == ("/a b", "/a%20b?c=%20")

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
        assert len(student.journey.hops) == students.MAX_HOPS

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
        student = Student(fake.hub, timeline=timeline)
        student.open(LINK)
        assert NAME in student.aliases
        told = timeline.slice(student.began, time.time(), student.aliases)
        assert [re.sub(r" \(?[\d.]+ s\)?$", "", f"{moment.source}: {moment.text}") for moment in told] == [
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

    def test_what_is_asked_of_the_server_is_told_and_no_hop(self, fake: FakeHub) -> None:
        timeline = Timeline()
        student = Student(fake.hub, timeline=timeline)
        student.name, student._token = NAME, "abc"
        fake.answers[f"/user/{NAME}/api/kernelspecs"] = [Answer(lines=['{"kernelspecs": {}}'])]
        student.kernelspecs()
        [moment] = timeline.slice(0, time.time(), student.aliases)
        assert moment.text.startswith(f"GET 200 /user/{NAME}/api/kernelspecs (")
        assert "abc" not in moment.text
        assert student.journey.hops == []
        student.close()

    def test_no_answer_is_told_too(self, fake: FakeHub) -> None:
        timeline = Timeline()
        student = Student(fake.hub, timeline=timeline)
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

    @pytest.mark.parametrize(("cause", "named"), [(None, "no cause named by Kubernetes"), ("OOMKilled", "OOMKilled")])
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
        assert second == "The hub said: two | three | Spawn failed"

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
        monkeypatch.setattr(students, "SPAWN_TIMEOUT", 0.0)
        fake.plays(lines=[event(message="Pulling")], hangs=True)
        with pytest.raises(SpawnError, match="did not come up within"):
            visit().open(LINK)

    def test_no_verdict(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        fake.plays(lines=[event(message="Pulling")])
        with pytest.raises(SpawnError, match=f"ended the progress of student {NAME}'s server without a verdict"):
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
        with pytest.raises(JourneyError, match=f"Student {NAME} has no _xsrf cookie for /hub/"):
            visit().open(LINK)


class TestServer:
    @pytest.mark.parametrize("status", [200, 404])
    def test_contents(self, fake: FakeHub, visit: Callable[..., Student], status: int) -> None:
        student = visit()
        student.name = NAME
        fake.answers[f"/user/{NAME}/api/contents/a%20b/c.ipynb"] = [Answer(status)]
        assert student.contents("a b/c.ipynb").status_code == status

    def test_page_config(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        student = visit()
        student.name = NAME
        tree = f"/user/{NAME}/tree"
        script = '<script id="jupyter-config-data" type="application/json">{"disabledExtensions": ["git"]}</script>'
        fake.answers[tree] = [Answer(200, lines=["<html>", script, "</html>"]), Answer(500)]
        assert student.page_config()["disabledExtensions"] == ["git"]
        with pytest.raises(JourneyError, match=f"student {NAME} has no jupyter-config-data: 500"):
            student.page_config()

    def test_a_saved_notebook_is_the_one_that_was_there(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        student = visit()
        student.name, student._token = NAME, "abc"
        where = f"/user/{NAME}/api/contents/a%20b.ipynb"
        fake.answers[where] = [Answer(200, lines=['{"content": {"cells": []}}']), Answer(403, lines=["not yours"])]
        with pytest.raises(JourneyError, match=r"at PUT contents/a%20b\.ipynb: 403 not yours"):
            student.save("a b.ipynb")
        assert fake.asked == [("GET", where), ("PUT", where)]
        assert json.loads(fake.bodies[where]) == {"type": "notebook", "format": "json", "content": {"cells": []}}

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
        with pytest.raises(JourneyError, match=f"Student {NAME} gets no token: 404 no such page"):
            _ = student.token


@pytest.mark.parametrize("error", [JourneyError, SpawnError, CellError])
def test_all_are_for_people(error: type[Exception]) -> None:
    assert issubclass(error, HarnessError)
