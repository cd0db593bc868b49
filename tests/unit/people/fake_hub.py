"""A hub that is a list of answers."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.hub.api import Hub

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


READY = [event(progress=0, message="Server requested"), ":keepalive\n\n", event(progress=100, ready=True, message="Up")]
