"""Cells and whole notebooks, run through a student's server whose kernel is a few lines of Python."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from harness.base.errors import HarnessError
from harness.hub.api import Hub
from harness.people import kernel as kernels
from harness.people.journey import JourneyError
from harness.people.kernel import WIDGET, CellError
from harness.people.notebook import CellFailure, NoKernelError, NotebookRun, run_notebook
from harness.people.student import Student
from tests.unit.people.conftest import never_stuck

NAME = "7c1e"
PATH = "unit 1/pandas.ipynb"


NOTICE = """IOPub {0} rate exceeded.
The Jupyter server will temporarily stop sending output
to the client in order to avoid crashing it.
To change this limit, set the config variable
`--ServerApp.iopub_{1}_rate_limit`.

Current values:
ServerApp.iopub_{1}_rate_limit={2} (bytes/sec)
ServerApp.rate_limit_window=3.0 (secs)

"""
"""As jupyter_server 2.21 sends it."""
TOO_FAST = {"data": NOTICE.format("data", "data", 1e6), "message": NOTICE.format("message", "msg", 1000.0)}


class FakeServer:
    """A student's server, which pings its visitors.

    Cells are Python, and of these names: hang, die, drop, interrupt (Ctrl-C here), shout (an error that is not shown),
    data and message (the notice that output came too fast), slider (a widget).
    """

    def __init__(self) -> None:
        self.contents: dict[str, Any] = {}
        self.specs = {"python3": "python"}
        self.sessions: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.ran: list[str] = []
        self.refusals = 0
        """Times that a session's end is refused."""
        self.mute = False
        self.pong = threading.Event()
        self._up = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        assert self._up.wait(10)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        api = f"/user/{NAME}/api"
        routes = [
            (f"{api}/contents/(.*)", Contents, {"fake": self}),
            (f"{api}/kernelspecs", Specs, {"fake": self}),
            (f"{api}/sessions/?(.*)", Sessions, {"fake": self}),
            (f"{api}/kernels/k1/channels", Channels, {"fake": self}),
        ]
        [socket] = bind_sockets(0, "127.0.0.1")
        # As long as its visitors have for an answer (tornado), on a machine that may be busy.
        server = HTTPServer(Application(routes, websocket_ping_interval=2))
        server.add_sockets([socket])
        self.hub = Hub(f"http://127.0.0.1:{socket.getsockname()[1]}", "jupyter", "jupyterhub", "jupyterhub", "secret")
        self._up.set()
        await self._end.wait()
        server.stop()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)

    def has(self, *cells: Any, **metadata: Any) -> None:
        """The notebook at PATH."""
        made = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
        content = new_notebook(cells=made, metadata=metadata)
        self.contents[PATH] = {"type": "notebook", "content": content}


class Contents(RequestHandler):
    def initialize(self, fake: FakeServer) -> None:
        self.fake = fake

    def get(self, path: str) -> None:
        if path not in self.fake.contents:
            self.set_status(404)
        self.finish(json.dumps(self.fake.contents.get(path, {"message": f"No such file: {path}"})))


class Specs(RequestHandler):
    def initialize(self, fake: FakeServer) -> None:
        self.fake = fake

    def get(self) -> None:
        specs = {name: {"spec": {"language": language}} for name, language in self.fake.specs.items()}
        self.finish({"default": "python3", "kernelspecs": specs})


class Sessions(RequestHandler):
    def initialize(self, fake: FakeServer) -> None:
        self.fake = fake

    def get(self, _: str) -> None:
        self.finish(json.dumps(self.fake.sessions))

    def post(self, _: str) -> None:
        asked = json.loads(self.request.body)
        self.fake.asked.append(asked)
        self.fake.sessions.append({**asked, "id": "s1", "kernel": {"id": "k1"}})
        self.set_status(201)
        self.finish(self.fake.sessions[-1])

    def delete(self, session: str) -> None:
        if self.fake.refusals:
            self.fake.refusals -= 1
            self.set_status(500)
        else:
            self.fake.sessions = [each for each in self.fake.sessions if each["id"] != session]
            self.set_status(204)
        self.finish()


class Channels(WebSocketHandler):
    def initialize(self, fake: FakeServer) -> None:
        self.fake, self.session, self.names, self.count = fake, Session(), dict[str, Any](), 0

    def get(self, *args: str, **kwargs: str) -> Any:
        if self.request.headers.get("Authorization") != "token abc" or self.request.query:
            self.set_status(403)
            return self.finish()
        return super().get(*args, **kwargs)

    def on_pong(self, data: bytes) -> None:
        self.fake.pong.set()

    def say(self, channel: str, kind: str, content: dict[str, Any]) -> None:
        message = self.session.msg(kind, content, parent=self.asked)
        self.write_message(json.dumps({**message, "channel": channel, "buffers": []}, default=json_default))

    def on_message(self, message: str | bytes) -> None:
        self.asked = json.loads(message)
        if self.fake.mute:
            return
        if self.asked["msg_type"] == "kernel_info_request":
            self.say("shell", "kernel_info_reply", {"status": "ok", "language_info": {"name": "python"}})
        else:
            self.execute(self.asked["content"])

    def execute(self, content: dict[str, Any]) -> None:
        code = content["code"]
        self.fake.ran.append(code)
        self.count += 1
        self.say("iopub", "status", {"execution_state": "busy"})
        if code == "drop":
            return self.close()
        if code == "die":
            self.asked = {"header": {}}
            return self.say("iopub", "status", {"execution_state": "restarting"})
        if code == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if code in ("hang", "interrupt"):
            return None
        if code == "widget":
            self.say_with_buffer()
        if code == "slider":
            self.say("iopub", "display_data", {"data": {WIDGET: {"model_id": "m"}}, "metadata": {}})
        if code in TOO_FAST:
            self.say("iopub", "stream", {"name": "stderr", "text": TOO_FAST[code]})
        plain = code in ("widget", "slider", *TOO_FAST)
        reply = {"status": "ok", "execution_count": self.count} if plain else self.evaluate(code, content)
        self.say("shell", "execute_reply", reply)
        self.say("iopub", "status", {"execution_state": "idle"})
        return None

    def say_with_buffer(self) -> None:
        data = {"state": {"_model_module": "x", "_model_name": "y"}, "buffer_paths": [["value"]]}
        content = {"comm_id": "c", "target_name": "jupyter.widget", "data": data}
        message = {**self.session.msg("comm_open", content, parent=self.asked), "channel": "iopub"}
        parts = [json.dumps(message, default=json_default).encode(), b"\x00picture"]
        offsets = [12, 12 + len(parts[0])]
        self.write_message(b"".join(each.to_bytes(4) for each in [2, *offsets]) + b"".join(parts), binary=True)

    def evaluate(self, code: str, content: dict[str, Any]) -> dict[str, Any]:
        printed, value = io.StringIO(), None
        try:
            with contextlib.redirect_stdout(printed):
                if code == "input()" and not content["allow_stdin"]:
                    raise type("StdinNotImplementedError", (Exception,), {})("this frontend does not support input")
                try:
                    value = eval(code, self.names)
                except SyntaxError:
                    exec(code, self.names)
        except Exception as error:  # noqa: BLE001  # any error of a cell is its reply
            traceback = ["\x1b[31m----\x1b[39m", f"\x1b[0;31m{type(error).__name__}\x1b[0m: {error}"]
            raised = {"ename": type(error).__name__, "evalue": str(error), "traceback": traceback}
            if "shout" not in code:
                self.say("iopub", "error", raised)
            return {"status": "error", **raised}
        if printed.getvalue():
            self.say("iopub", "stream", {"name": "stdout", "text": printed.getvalue()})
        if value is not None:
            data = {"data": {"text/plain": repr(value)}, "metadata": {}, "execution_count": self.count}
            self.say("iopub", "execute_result", data)
        return {"status": "ok", "execution_count": self.count}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.close()


@pytest.fixture
def student(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Student]:
    monkeypatch.setattr(Student, "token", "abc")
    student = Student(server.hub, never_stuck)
    student.name = NAME
    yield student
    assert server.sessions == [], "a kernel was left"
    student.close()


def tagged(source: str, tag: str) -> Any:
    return new_code_cell(source, metadata={"tags": [tag]})


class TestRun:
    def test_every_cell_runs_in_one_kernel(self, server: FakeServer, student: Student) -> None:
        server.has(new_markdown_cell("# Pandas"), "x = 1", "print(x)", " ", "assert x == 1")
        run = run_notebook(student, PATH)
        assert (run.cells, run.run, run.failure, run.died) == (3, 3, None, False)
        assert 0 < run.seconds < 10
        assert server.ran == ["x = 1", "print(x)", "assert x == 1"]

    def test_kernel_is_the_notebooks_own(self, server: FakeServer, student: Student) -> None:
        server.has("1")
        run_notebook(student, PATH)
        wanted = {"path": PATH, "type": "notebook", "name": "pandas.ipynb", "kernel": {"name": "python3"}}
        assert server.asked == [wanted]

    def test_ends_at_the_first_cell_that_raises(self, server: FakeServer, student: Student) -> None:
        server.has("x = 1", "", new_markdown_cell("Now"), "y\n1", "never")
        run = run_notebook(student, PATH)
        error = "NameError: name 'y' is not defined"
        assert run == NotebookRun(3, 1, run.seconds, CellFailure(2, "y\n1", error, f"----\n{error}"), False)
        assert "never" not in server.ran

    def test_cell_that_may_raise(self, server: FakeServer, student: Student) -> None:
        server.has(tagged("1 / 0", "raises-exception"), "2")
        run = run_notebook(student, PATH)
        assert (run.cells, run.run, run.failure) == (2, 2, None)

    def test_cell_to_skip(self, server: FakeServer, student: Student) -> None:
        server.has(tagged("1 / 0", "skip-execution"), "2", "y")
        run = run_notebook(student, PATH)
        assert (run.cells, run.run, run.failure and run.failure.number) == (3, 1, 3)
        assert server.ran == ["2", "y"]

    def test_cell_that_asks(self, server: FakeServer, student: Student) -> None:
        server.has("1", "input()")
        failure = run_notebook(student, PATH).failure
        assert failure
        assert (failure.number, failure.error) == (2, "asks for input(), and this run has no one to answer")

    def test_cell_without_end(self, server: FakeServer, student: Student) -> None:
        server.has("hang")
        run = run_notebook(student, PATH, cell_timeout=0.2)
        assert run.failure == CellFailure(1, "hang", "not done after 0.2 s", "")
        assert not run.died

    @pytest.mark.parametrize("death", ["die", "drop"])
    def test_death_is_seen_at_once(self, server: FakeServer, student: Student, death: str) -> None:
        """The server says that it starts the kernel anew, or the server itself goes."""
        server.has("1", death, "2")
        run = run_notebook(student, PATH, cell_timeout=60)
        assert run == NotebookRun(3, 1, run.seconds, CellFailure(2, death, "the kernel died", ""), True)
        assert run.seconds < 5

    def test_error_that_the_server_dropped(self, server: FakeServer, student: Student) -> None:
        server.has("raise ValueError('shout')")
        failure = run_notebook(student, PATH).failure
        assert failure
        assert failure.traceback == "----\nValueError: shout"

    def test_message_with_buffers(self, server: FakeServer, student: Student) -> None:
        server.has("widget", "1")
        assert run_notebook(student, PATH).run == 2

    def test_much_output(self, server: FakeServer, student: Student) -> None:
        server.has("print('x' * 20_000_000)")
        assert run_notebook(student, PATH).run == 1

    def test_output_that_the_page_cuts_off(self, server: FakeServer, student: Student) -> None:
        """The server's own limit is named, and a notice that an author saved in a skipped cell is none."""
        skipped = tagged("1 / 0", "skip-execution")
        skipped.outputs = [new_output("stream", name="stderr", text=TOO_FAST["data"])]
        server.has("1", "data", skipped, "message", "1")
        run = run_notebook(student, PATH)
        part = "the page shows only part of cell {}'s output: it prints more than {}"
        assert run.cut_off == (part.format(2, "1 MB a second"), part.format(4, "1000 messages a second"))
        assert run.run == 4

    @pytest.mark.parametrize(("code", "widgets"), [("slider", True), ("1", False)])
    def test_widget_in_an_output(self, server: FakeServer, student: Student, code: str, widgets: bool) -> None:
        server.has(code)
        assert run_notebook(student, PATH).widgets is widgets

    def test_session_is_ended_even_if_the_server_refuses_at_first(self, server: FakeServer, student: Student) -> None:
        server.refusals = 2
        server.has("die")
        assert run_notebook(student, PATH).died

    def test_interrupt_is_no_death(self, server: FakeServer, student: Student) -> None:
        server.has("interrupt")
        # A run in the background of a shell ignores it.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                run_notebook(student, PATH)
        finally:
            signal.signal(signal.SIGINT, before)


class TestKernelName:
    def test_the_notebooks(self, server: FakeServer, student: Student) -> None:
        server.specs["ir"] = "R"
        server.has("1", kernelspec={"name": "ir", "display_name": "R"})
        run_notebook(student, PATH)
        assert server.asked[0]["kernel"] == {"name": "ir"}

    def test_the_only_one_of_the_language(self, server: FakeServer, student: Student) -> None:
        server.specs["ir"] = "R"
        server.has("1", kernelspec={"name": "venv", "display_name": "mine"}, language_info={"name": "R"})
        run_notebook(student, PATH)
        assert server.asked[0]["kernel"] == {"name": "ir"}

    @pytest.mark.parametrize("language", ["julia", "python"])
    def test_none_or_several(self, server: FakeServer, student: Student, language: str) -> None:
        server.specs["python2"] = "python"
        server.has("1", kernelspec={"name": "mine", "display_name": "mine"}, language_info={"name": language})
        with pytest.raises(
            NoKernelError, match=rf"{PATH} wants the kernel mine; the image has: python2, python3\."
        ) as caught:
            run_notebook(student, PATH)
        assert caught.value.kernel == "mine"


class TestRefusals:
    def test_no_notebook(self, student: Student) -> None:
        with pytest.raises(HarnessError, match=f"answers 404 for {PATH}: .*No such file"):
            run_notebook(student, PATH)

    def test_not_a_notebook(self, server: FakeServer, student: Student) -> None:
        server.contents[PATH] = {"type": "file", "content": "text"}
        with pytest.raises(HarnessError, match=f"{PATH} should be a notebook, .* calls it a file"):
            run_notebook(student, PATH)

    def test_a_kernel_with_things_in_memory_is_not_taken(self, server: FakeServer, student: Student) -> None:
        server.has("1")
        server.sessions = [{"id": "s0", "path": PATH}]
        with pytest.raises(JourneyError, match=f"{PATH} has a kernel already"):
            run_notebook(student, PATH)
        server.sessions = []

    def test_kernel_does_not_answer(
        self, server: FakeServer, student: Student, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kernels, "START_TIMEOUT", 0.2)
        server.mute = True
        with (
            pytest.raises(HarnessError, match="The kernel does not answer, 0 s after its start"),
            student.server.kernel(),
        ):
            pass

    def test_no_way_to_the_kernel(self, student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Student, "token", "xyz")
        with pytest.raises(HarnessError, match=r"The kernel cannot be reached: HTTP 403"), student.server.kernel():
            pass


class TestKernel:
    def test_result(self, student: Student) -> None:
        with student.server.kernel() as kernel:
            kernel.run("x = 6")
            printed = kernel.run("print(x)\nprint(7)")
            value = kernel.run("x * 7")
        assert (printed.value, printed.stdout) == ("", "6\n7\n")
        assert (value.value, value.stdout) == ("42", "")

    def test_goes_on_after_an_error(self, student: Student) -> None:
        with student.server.kernel() as kernel:
            with pytest.raises(CellError, match=r"\AThe cell failed: KeyError: 'rent'\n\{\}\['rent'\]\Z"):
                kernel.run("{}['rent']")
            assert kernel.run("1").value == "1"

    def test_hangs(self, student: Student) -> None:
        with (
            student.server.kernel() as kernel,
            pytest.raises(CellError, match=r"\AThe cell failed: not done after 0\.1 s\nhang\Z"),
        ):
            kernel.run("hang", timeout=0.1)

    def test_goes_away(self, student: Student, caplog: pytest.LogCaptureFixture) -> None:
        with student.server.kernel() as kernel:
            for code in ("drop", "1"):
                started = time.monotonic()
                with pytest.raises(CellError, match=rf"\AThe cell failed: the kernel died\n{code}\Z"):
                    kernel.run(code)
                assert time.monotonic() - started < 5
        gc.collect()
        assert not caplog.messages, "a task of nbclient ended with an exception that nobody took"

    def test_pings_are_answered_between_cells(self, server: FakeServer, student: Student) -> None:
        """A server hangs up on who does not answer them."""
        with student.server.kernel() as kernel:
            kernel.run("1")
            server.pong.clear()
            assert server.pong.wait(10)
            assert kernel.run("2").value == "2"
