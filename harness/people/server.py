"""A user's own Jupyter server, reached through the hub's proxy: files, settings and kernels."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx

from harness.base.wait import NotYet, wait_until
from harness.people.journey import JourneyError, Visitor
from harness.people.kernel import START_TIMEOUT, Kernel, connect


class UserServer:
    """A user's own server, as its pages use it.

    Args:
        user: the visitor whose server it is.
    """

    def __init__(self, user: Visitor) -> None:
        self._user = user
        self._path = f"/user/{quote(user.name)}"

    @property
    def url(self) -> str:
        """Return the server's URL."""
        return f"{self._user.hub.url}{self._path}"

    def contents(self, path: str) -> httpx.Response:
        """Ask for a file: the answer is 200 for one that is there, 404 for one that is not.

        The notebook page itself is 200 for any path (notebook 7 serves its shell), and proves nothing.
        """
        return self._user.get(f"{self._path}/api/contents/{quote(path)}")

    def write(self, path: str, text: str) -> None:
        """Save a text file in the home directory, as the file browser does.

        Raises:
            JourneyError: the server refuses.
        """
        self._call("PUT", f"contents/{quote(path)}", json={"type": "file", "format": "text", "content": text})

    def upload(self, path: str, content: bytes, chunk: int) -> None:
        """Upload a file in chunks of some bytes, as JupyterLab does (its docmanager, uploadLargeFile).

        Raises:
            JourneyError: the server refuses.
        """
        parts = [content[start : start + chunk] for start in range(0, len(content), chunk)]
        for number, part in enumerate(parts, start=1):
            model = {
                "type": "file",
                "format": "base64",
                "content": base64.b64encode(part).decode(),
                "chunk": number if number < len(parts) else -1,
                "name": path,
                "path": path,
            }
            self._call("PUT", f"contents/{quote(path)}", json=model)

    def size(self, path: str) -> int:
        """Return the size of a file in bytes.

        Raises:
            JourneyError: it is not there.
        """
        return int(self._call("GET", f"contents/{quote(path)}?content=0").json()["size"])

    def download(self, path: str) -> bytes:
        """Return a file, as its link in the file browser does.

        Raises:
            JourneyError: the server refuses.
        """
        answer = self._user.call("GET", f"{self._path}/files/{quote(path)}", headers=self._authorization)
        if not answer.is_success:
            raise JourneyError(f"The server of {self._user}, at /files/{path}: {answer.status_code}")
        return answer.content

    def save(self, path: str) -> None:
        """Save a notebook where it is, as it is, as its Save button does.

        Raises:
            JourneyError: the server refuses.
        """
        there = self._call("GET", f"contents/{quote(path)}").json()
        saved = {"type": "notebook", "format": "json", "content": there["content"]}
        self._call("PUT", f"contents/{quote(path)}", json=saved)

    def page_config(self) -> dict[str, Any]:
        """Return the settings that the server gives its pages: disabledExtensions, for one (jupyterlab_server).

        Raises:
            JourneyError: the page has none.
        """
        page = self._user.get(f"{self._path}/tree")
        found = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page.text, re.DOTALL)
        if not found:
            raise JourneyError(f"/tree of {self._user} has no jupyter-config-data: {page.status_code}")
        return dict(json.loads(found[1]))

    def kernelspecs(self) -> dict[str, str]:
        """Return the language of each kernel that the server offers, by the kernel's name.

        Raises:
            JourneyError: the server refuses.
        """
        there = self._call("GET", "kernelspecs").json()["kernelspecs"]
        return {name: its["spec"]["language"] for name, its in there.items()}

    @contextmanager
    def kernel(self, path: str = "", name: str = "python3") -> Iterator[Kernel]:
        """Start a new kernel, and shut it down at the end.

        Args:
            path: notebook whose kernel it is, as when its page is opened: it works in the notebook's directory.
            name: the kernel's, of kernelspecs().

        Raises:
            JourneyError: the server refuses, or the notebook is open with a kernel of its own.
            HarnessError: the kernel cannot be reached, or does not answer.
        """
        # The server gives a path that has a session that session, with all that its kernel has in memory.
        if path in [session["path"] for session in self._call("GET", "sessions").json()]:
            raise JourneyError(f"{path} has a kernel already: shut that down, for this run needs a new one")
        about = {"path": path or f"console-{uuid4()}", "type": "notebook" if path else "console"}
        wanted = {**about, "name": path.rpartition("/")[2], "kernel": {"name": name}}
        started = time.monotonic()
        session = self._call("POST", "sessions", json=wanted, timeout=START_TIMEOUT).json()
        try:
            url = f"{self.url}/api/kernels/{session['kernel']['id']}"
            with connect(url, self._authorization | self._user.cookie_header(url), self._user.names) as kernel:
                self._user.journey.took("kernel", started)
                yield kernel
        finally:
            self._end_session(session["id"])

    def _end_session(self, session: str) -> None:
        def gone() -> bool | NotYet:
            url = f"{self._path}/api/sessions/{session}"
            answer = self._user.call("DELETE", url, headers=self._authorization)
            # 500 while the server restarts a killed kernel.
            return answer.status_code != 500 or NotYet(f"500 {answer.text[:200]}")

        # A server that is gone has taken its kernel along.
        with suppress(httpx.HTTPError):
            wait_until(f"the end of {self._user}'s kernel", gone, timeout=30)

    @property
    def _authorization(self) -> dict[str, str]:
        # In a header: JupyterHub takes no token from the address of a websocket (JUPYTERHUB_ALLOW_TOKEN_IN_URL).
        return {"Authorization": f"token {self._user.token}"}

    def _call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Send one request to the server's REST API."""
        where = f"The server of {self._user}, at {method} {path}"
        try:
            answer = self._user.call(method, f"{self._path}/api/{path}", headers=self._authorization, **kwargs)
        except httpx.HTTPError as error:
            raise JourneyError(f"{where}: {str(error) or type(error).__name__}") from error
        if not answer.is_success:
            raise JourneyError(f"{where}: {answer.status_code} {answer.text[:200]}")
        return answer
