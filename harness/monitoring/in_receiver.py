"""Receives what Alertmanager sends, and gives it back: `python3 in_receiver.py PORT`.

It runs in a pod of its own, on the hub's image, and so knows nothing but the standard library. A POST is a
notification, as Alertmanager's webhook sends it; a GET answers with a JSON list of all alerts in them, each with the
time at which it arrived.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOST = 10_000
"""Alerts that are kept, the newest."""


class Receiver(ThreadingHTTPServer):
    """A server that keeps the alerts that it was sent."""

    def __init__(self, port: int) -> None:
        super().__init__(("", port), Handler)
        self.alerts: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    """One request to a receiver."""

    server: Receiver

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        now = time.time()
        self.server.alerts += [{"received": now, **alert} for alert in sent.get("alerts", [])]
        del self.server.alerts[:-MOST]
        self._answer([])

    def do_GET(self) -> None:
        self._answer(self.server.alerts)

    def _answer(self, content: list[dict[str, Any]]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Write no line for each request."""


if __name__ == "__main__":
    Receiver(int(sys.argv[1])).serve_forever()
