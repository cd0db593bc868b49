"""A kernel in a student's server: runs cells as nbclient does, and knows at once when it died."""

from __future__ import annotations

import asyncio
import json
import queue
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from jupyter_client.client import KernelClient
from jupyter_client.jsonutil import json_default
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from rich.text import Text
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from harness.base.errors import HarnessError
from harness.base.names import Names

CELL_TIMEOUT = 60.0
"""Seconds for one cell."""
START_TIMEOUT = 60.0
"""Seconds for a kernel to answer after its start."""
MAX_MESSAGE = 2**30
"""Bytes of one message, such as a picture; nothing that a browser would show is larger."""

WIDGET = "application/vnd.jupyter.widget-view+json"
"""MIME type of an output that a widget's page half shows."""
CUT_OFF = re.compile(r"IOPub (data|message) rate exceeded\..*iopub_\w+_rate_limit=([\d.]+)", re.DOTALL)
"""The notice that a server puts in the place of output that comes too fast (jupyter_server, _limit_rate)."""


class CellError(HarnessError):
    """A cell did not run to its end as it should; the message carries the error and the cell.

    Attributes:
        error: what went wrong, in a line: "KeyError: 'rent'", "not done after 60 s", "the kernel died".
        traceback: as the notebook shows it, without colours; empty where the cell did not raise.
        died: the kernel went away.
    """

    def __init__(self, error: str, source: str, *, traceback: str = "", died: bool = False) -> None:
        super().__init__(f"The cell failed: {error}\n{source}")
        self.error, self.traceback, self.died = error, traceback, died


@dataclass(frozen=True)
class CellResult:
    """The output of a cell."""

    value: str
    """The text of the last expression; empty for none."""
    stdout: str


class Kernel:
    """A kernel that runs cells, one after the other.

    Args:
        client: its connection.
        portal: to the event loop where the connection lives, in a thread of its own.
    """

    def __init__(self, client: _Client, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def run(self, code: str, *, timeout: float = CELL_TIMEOUT) -> CellResult:
        """Run one cell.

        Raises:
            CellError: it raised, was not done within `timeout` seconds, or the kernel died.
        """
        cell = new_code_cell(code)
        for _ in self.run_cells(new_notebook(cells=[cell]), timeout=timeout):
            pass
        values = [each.data.get("text/plain", "") for each in cell.outputs if each.output_type == "execute_result"]
        return CellResult(
            values[-1] if values else "", "".join(each.text for each in cell.outputs if each.get("name") == "stdout")
        )

    def run_cells(self, notebook: NotebookNode, *, timeout: float = CELL_TIMEOUT) -> Iterator[NotebookNode]:
        """Run a notebook's cells as nbclient does: tags raises-exception and skip-execution are heeded.

        Yields:
            Each cell of whatever type, with its outputs, once it is done or skipped.

        Raises:
            CellError: a cell raised, was not done within `timeout` seconds, or the kernel died.
        """
        replies: list[dict[str, Any]] = []
        runner = NotebookClient(
            notebook,
            store_widget_state=False,
            timeout_func=lambda cell: timeout,
            on_cell_error=lambda cell, cell_index, execute_reply: replies.append(execute_reply["content"]),
        )
        # Its own execute() would start a kernel here, and take Ctrl-C away from pytest.
        runner.kc = self._client
        for index, cell in enumerate(notebook.cells):
            try:
                self._portal.call(runner.async_execute_cell, cell, index)
            except CellExecutionError as error:
                if error.ename == "StdinNotImplementedError":
                    what = "asks for input(), and this run has no one to answer"
                else:
                    what = f"{error.ename}: {error.evalue}"
                # From the reply: the server drops outputs of a cell that prints too fast, its error among them.
                traceback = Text.from_ansi("\n".join(replies[-1].get("traceback", []))).plain
                raise CellError(what, cell.source, traceback=traceback) from error
            except CellTimeoutError as error:
                raise CellError(f"not done after {timeout:g} s", cell.source) from error
            except (DeadKernelError, WebSocketClosedError) as error:
                raise CellError("the kernel died", cell.source, died=True) from error
            yield cell


def cut_off(cell: NotebookNode) -> str:
    """Return the rate above which the server dropped output of a cell that ran; empty if it dropped none."""
    printed = (each.text for each in cell.outputs if each.get("name") == "stderr")
    found = next(filter(None, map(CUT_OFF.search, printed)), None)
    if not found:
        return ""
    limit = float(found[2])
    return f"{limit / 1e6:g} MB a second" if found[1] == "data" else f"{limit:g} messages a second"


def has_widget(cell: NotebookNode) -> bool:
    """Return True if an output of a cell that ran is a widget."""
    return any(WIDGET in each.get("data", {}) for each in cell.outputs)


@contextmanager
def connect(url: str, headers: dict[str, str], names: Names | None = None) -> Iterator[Kernel]:
    """Connect to a running kernel while the context is open.

    Args:
        url: the kernel's address in its server's REST API, …/api/kernels/ID.
        headers: sent with the websocket's request.
        names: the way to its host, where that is not its address.

    Raises:
        HarnessError: no connection, or the kernel does not answer.
    """
    # A thread of its own, so that the server's pings are answered between two cells too.
    with start_blocking_portal() as portal:
        try:
            client = portal.call(_open, url, headers, names)
        except (TimeoutError, queue.Empty) as error:
            raise HarnessError(f"The kernel does not answer, {START_TIMEOUT:.0f} s after its start: {url}") from error
        except (DeadKernelError, WebSocketClosedError) as error:
            raise HarnessError(f"The kernel died as it started: {url}") from error
        except (HTTPClientError, OSError) as error:
            raise HarnessError(f"The kernel cannot be reached: {error}: {url}") from error
        try:
            yield Kernel(client, portal)
        finally:
            portal.call(client.close)


async def _open(url: str, headers: dict[str, str], names: Names | None) -> _Client:
    """Connect, and wait until the kernel answers, so that its start counts for no cell."""
    address = f"ws{url.removeprefix('http')}/channels"
    trust, resolver = (names.context(), names.resolver()) if names else (None, None)
    request = HTTPRequest(address, headers=headers, request_timeout=START_TIMEOUT, ssl_options=trust)
    client = _Client(await websocket_connect(request, max_message_size=MAX_MESSAGE, resolver=resolver))
    asked = client.kernel_info()
    while (await client.shell_channel.get_msg(timeout=START_TIMEOUT))["parent_header"].get("msg_id") != asked:
        pass
    return client


class _Client(KernelClient):
    """jupyter_client's client of a kernel, over a websocket to the kernel's server in place of ZeroMQ's sockets."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        super().__init__()
        self.allow_stdin = False
        self._socket = socket
        # The cell's end comes from its reply; the end of nbclient's other task is never read.
        ends = {"shell": DeadKernelError("Kernel died"), "iopub": asyncio.CancelledError()}
        self._channels = {name: _Channel(name, socket, end) for name, end in ends.items()}
        self._died = False
        self._reader = asyncio.ensure_future(self._read())

    @property
    def shell_channel(self) -> _Channel:
        return self._channels["shell"]

    @property
    def iopub_channel(self) -> _Channel:
        return self._channels["iopub"]

    def is_alive(self) -> bool:
        return not self._died

    async def close(self) -> None:
        self._reader.cancel()
        self._socket.close()

    async def _read(self) -> None:
        """Take messages to their channels, until the connection is lost or the server reports that the kernel died.

        The server starts a killed kernel anew, with nothing of what the cells before made: that is a death too.
        """
        try:
            while (text := await self._socket.read_message()) is not None:
                message = _parse(text)
                if message["msg_type"] == "status" and message["content"]["execution_state"] in ("restarting", "dead"):
                    break
                if channel := self._channels.get(message["channel"]):
                    channel.put(message)
        finally:
            self._died = True
            for channel in self._channels.values():
                channel.put(None)


class _Channel:
    """The part of a channel that nbclient uses.

    Args:
        end: raised once there are no more messages.
    """

    def __init__(self, name: str, socket: WebSocketClientConnection, end: BaseException) -> None:
        self._name = name
        self._socket = socket
        self._end = end
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def put(self, message: dict[str, Any] | None) -> None:
        """Add a message; None is the last."""
        self._messages.put_nowait(message)

    def send(self, message: dict[str, Any]) -> None:
        self._socket.write_message(json.dumps({**message, "channel": self._name}, default=json_default))

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the next message.

        Raises:
            queue.Empty: none within `timeout` seconds.
            BaseException: the channel's end: there will be none.
        """
        try:
            message = await asyncio.wait_for(self._messages.get(), timeout)
        except TimeoutError:
            raise queue.Empty from None
        if message is None:
            self.put(None)
            raise self._end
        return message


def _parse(text: str | bytes) -> dict[str, Any]:
    """Parse a message of the websocket: JSON, or binary where buffers (of a widget; not used here) follow the JSON.

    The binary form: the number of parts, the offset of each (four bytes a number, big-endian), and then the parts.
    https://jupyter-server.readthedocs.io/en/latest/developers/websocket-protocols.html
    """
    if isinstance(text, bytes):
        start, end = int.from_bytes(text[4:8]), int.from_bytes(text[8:12])
        text = text[start:end]
    message: dict[str, Any] = json.loads(text)
    return message
